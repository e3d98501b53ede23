#include "tests/support/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "tests/support/temp_folder.h"

namespace fulmar::test {
namespace {

constexpr double longest_run = 300;
constexpr unsigned nobody_id = 65534;

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void redirect(const std::string& path, int to) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file < 0 || ::dup2(file, to) < 0) ::_exit(126);
  ::close(file);
}

[[noreturn]] void become(const std::string& program, const std::vector<std::string>& arguments,
                         const HowToRun& how, const std::string& out, const std::string& err) {
  redirect(err, STDERR_FILENO);
  if (how.deaf) {
    int ends[2];
    if (::pipe(ends) != 0 || ::dup2(ends[1], STDOUT_FILENO) < 0) ::_exit(126);
    ::close(ends[0]);
    ::close(ends[1]);
  } else if (how.close_out) {
    ::close(STDOUT_FILENO);
  } else {
    redirect(out, STDOUT_FILENO);
  }
  if (!how.folder.empty() && ::chdir(how.folder.c_str()) != 0) ::_exit(126);
  if (how.nobody && (::setgid(nobody_id) != 0 || ::setuid(nobody_id) != 0)) ::_exit(126);
  for (const std::string& entry : how.environment) {
    const size_t equals = entry.find('=');
    ::setenv(entry.substr(0, equals).c_str(), entry.substr(equals + 1).c_str(), 1);
  }
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(program.c_str(), argv.data());
  ::_exit(126);
}

bool is_time(const HowToRun& how, const std::string& out, const std::string& err) {
  if (!how.interrupt_at.empty()) return contents(err).find(how.interrupt_at) != std::string::npos;
  std::error_code absent;
  return std::filesystem::file_size(out, absent) > 0 && !absent;
}

}  // namespace

Ended run_process(const std::string& program, const std::vector<std::string>& arguments,
                  const HowToRun& how) {
  using Clock = std::chrono::steady_clock;
  const TempFolder folder;
  const std::string out = how.out.empty() ? folder.path("out") : how.out;
  const std::string err = folder.path("err");
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become(program, arguments, how, out, err);

  const auto start = Clock::now();
  bool interrupted = !how.interrupt && how.interrupt_at.empty();
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (!interrupted && is_time(how, out, err)) {
      ::kill(child, how.signal);
      interrupted = true;
    }
    if (seconds > longest_run) ::kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  Ended ended;
  ended.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (how.out.empty()) ended.out = contents(out);
  ended.err = contents(err);
  return ended;
}

}  // namespace fulmar::test
