#pragma once

#include <string>

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

}  // namespace fulmar::data
