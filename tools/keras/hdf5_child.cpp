#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "data/helper_program.h"
#include "kernels/error.h"
#include "tools/keras/keras_file.h"

namespace fulmar::keras {
namespace {

namespace fs = std::filesystem;

constexpr data::HelperProgram helper{
    "fulmar-hdf5", "FULMAR_HDF5_PROGRAM", "Keras files",
    "HDF5 and libzip are found (packages libhdf5-dev and libzip-dev"};
constexpr int longest_silence_ms = 120'000;

std::array<int, 2> new_pipe() {
  std::array<int, 2> ends;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) file_error("no pipe could be made");
  return ends;
}

// A running fulmar-hdf5, whose standard output is read here.
class Child {
 public:
  Child(const std::string& program, const std::string& argument)
      : running_(program, {argument}, new_pipe(), STDOUT_FILENO) {}

  // Appends what came; false at its end. Error(file) where it says nothing for minutes.
  bool read(std::string& to) {
    static thread_local char part[1 << 16];
    for (;;) {
      pollfd waits{running_.end(), POLLIN, 0};
      const int ready = ::poll(&waits, 1, longest_silence_ms);
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) file_error("it could not be read within minutes: it is damaged");
      const ssize_t bytes = ::read(running_.end(), part, sizeof part);
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes <= 0) return false;
      to.append(part, static_cast<size_t>(bytes));
      return true;
    }
  }

  int wait() { return running_.wait(); }

 private:
  data::RunningHelper running_;
};

void read_through_child(KerasFile& file) {
  if (!fs::exists(file.path)) file_error("no such file");
  if (!fs::is_regular_file(file.path)) file_error("it is no file");
  Child child(data::find_program(helper), file.path);
  MessageReader messages(file);
  std::string bytes;
  while (child.read(bytes)) messages.take(bytes);
  const int status = child.wait();
  if (messages.ended()) return;
  if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
    throw Error(ErrorKind::cancelled, "interrupted");  // Ctrl-C reaches both
  file_error("it is damaged: the HDF5 library " +
             (WIFSIGNALED(status) ? "was ended by signal " + std::to_string(WTERMSIG(status)) +
                                        " (" + ::strsignal(WTERMSIG(status)) + ")"
                                  : "gave up") +
             " while reading it");
}

}  // namespace

KerasFile read_keras_file(const std::string& path) {
  KerasFile file;
  file.path = path;
  try {
    read_through_child(file);
  } catch (const Error& error) {
    throw Error(error.kind(), path + ": " + error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    file_error(path + ": " + error.code().message());
  } catch (const std::bad_alloc&) {
    device_error(path + ": memory ran out while reading it");
  }
  return file;
}

}  // namespace fulmar::keras
