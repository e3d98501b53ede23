#include "data/helper_program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "kernels/error.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): not in every unistd.h

namespace fulmar::data {

namespace fs = std::filesystem;

std::string find_program(const HelperProgram& helper) {
  if (const char* given = std::getenv(helper.variable); given && *given) {
    if (!fs::exists(given))
      file_error(std::string(given) + ", which " + helper.variable +
                 " names, is not there: correct the variable or take it out");
    return given;
  }
  std::error_code error;
  const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
  const fs::path beside = folder / helper.name,
                 installed = (folder / FULMAR_LIBEXEC_FOLDER / helper.name).lexically_normal();
  for (const fs::path& place : {beside, installed})
    if (fs::exists(place, error)) return place.string();
  file_error(std::string("reading ") + helper.reads + " takes the program " + helper.name +
             ", which is neither at " + beside.string() + " nor at " + installed.string() +
             ": it is built where " + helper.needs + "; tools/setup.sh installs them)");
}

RunningHelper::RunningHelper(const std::string& program, std::vector<std::string> arguments,
                             std::array<int, 2> ends, int as)
    : end_(ends[0]) {
  arguments.insert(arguments.begin(), program);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[1], as);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (stream != as) ::posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_RDWR, 0);
  const int reason = ::posix_spawn(&id_, program.c_str(), &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (reason == 0) return;
  ::close(end_);
  file_error(program + " can't be started (" + std::strerror(reason) + ")");
}

RunningHelper::~RunningHelper() {
  ::close(end_);
  if (id_ <= 0) return;
  ::kill(id_, SIGKILL);
  wait();
}

int RunningHelper::wait() {
  int status = 0;
  while (::waitpid(id_, &status, 0) < 0 && errno == EINTR) {
  }
  id_ = 0;
  return status;
}

}  // namespace fulmar::data
