#pragma once

#include <sys/types.h>

#include <array>
#include <string>
#include <vector>

namespace fulmar::data {

// A program that only this one starts, because of a library that it links.
struct HelperProgram {
  const char* name;      // "fulmar-netcdf"
  const char* variable;  // of the environment, that names another place of it
  const char* reads;     // "Keras files"
  const char* needs;     // "HDF5 and libzip are found (packages libhdf5-dev and libzip-dev"
};

// Where it is: beside the program, or in the folder where programs that only programs call are
// installed. Error(file) where it is in neither.
std::string find_program(const HelperProgram& helper);

// Such a program while it runs. It is killed when this object goes, however that comes.
class RunningHelper {
 public:
  // `ends`: of a pipe or socket. The second becomes the program's descriptor `as` (0: standard
  // input, 1: standard output) and is closed here; its other standard streams are /dev/null. The
  // first stays open here till the end. Error(file) where the program can't be started.
  RunningHelper(const std::string& program, std::vector<std::string> arguments,
                std::array<int, 2> ends, int as);
  ~RunningHelper();
  RunningHelper(const RunningHelper&) = delete;
  RunningHelper& operator=(const RunningHelper&) = delete;

  int end() const { return end_; }  // the first of the two
  int wait();                       // waitpid's status; once

 private:
  pid_t id_ = 0;
  int end_ = -1;
};

}  // namespace fulmar::data
