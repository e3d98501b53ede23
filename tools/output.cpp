#include "tools/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "kernels/error.h"
#include "tools/console.h"

namespace fulmar::tools {
namespace {

constexpr size_t buffer_bytes = 1 << 16;
std::string buffer;

std::string compact(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// As dump(2), but lists of plain values on one line.
std::string pretty(const Json& json, const std::string& indent = "") {
  const bool plain = std::none_of(json.begin(), json.end(),
                                  [](const Json& value) { return value.is_structured(); });
  if (!json.is_structured() || json.empty() || (json.is_array() && plain)) return compact(json);
  const std::string inner = indent + "  ";
  std::string text;
  for (const auto& [key, value] : json.items())
    text += (text.empty() ? "\n" : ",\n") + inner +
            (json.is_object() ? compact(Json(key)) + ": " : "") + pretty(value, inner);
  return (json.is_object() ? "{" : "[") + text + "\n" + indent + (json.is_object() ? "}" : "]");
}

}  // namespace

void print(std::string_view text) {
  buffer += text;
  if (buffer.size() >= buffer_bytes) flush_output();
}

void print_line(const Json& json) { print(compact(json) + "\n"); }

void print_pretty(const Json& json) { print(pretty(json) + "\n"); }

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
