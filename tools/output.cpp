#include "tools/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "kernels/error.h"
#include "tools/console.h"

namespace fulmar::tools {
namespace {

constexpr size_t buffer_bytes = 1 << 16;
std::string buffer;

}  // namespace

void print(std::string_view text) {
  buffer += text;
  if (buffer.size() >= buffer_bytes) flush_output();
}

void print_line(const Json& json) {
  print(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void print_pretty(const Json& json) {
  print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

void flush_output() {
  if (buffer.empty()) return;
  static const bool terminal = ::isatty(STDOUT_FILENO) != 0;
  if (terminal) Console::standard().status("");
  std::string_view rest = buffer;
  int reason = 0;
  while (!rest.empty() && reason == 0) {
    const ssize_t written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written > 0) rest.remove_prefix(static_cast<size_t>(written));
    if (written < 0 && errno != EINTR) reason = errno;
  }
  buffer.clear();
  if (reason == EPIPE) throw OutputClosed{};
  if (reason != 0)
    file_error(std::string("standard output can't be written (") + std::strerror(reason) +
               "): send it to a place with room, or to a file that may be written");
}

}  // namespace fulmar::tools
