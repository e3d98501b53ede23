#include "tools/console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace fulmar::tools {
namespace {

void write_stderr(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
}

int terminal_width() {
  static const bool redraws = [] {
    const char* term = std::getenv("TERM");
    return ::isatty(STDERR_FILENO) && term && std::string_view(term) != "dumb";
  }();
  if (!redraws) return 0;
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

// A file's name must not move the cursor.
std::string printable(std::string_view text) {
  std::string safe(text);
  for (char& c : safe) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F) c = '?';
  }
  return safe;
}

}  // namespace

Console& Console::standard() {
  static Console console(write_stderr, terminal_width);
  return console;
}

void Console::clear_status() {
  if (!status_.empty()) write_("\r\x1b[K");
}

void Console::line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  clear_status();
  write_(printable(text) + "\n");
  if (!status_.empty()) write_(status_);
}

void Console::status(std::string_view text) {
  const std::lock_guard lock(mutex_);
  clear_status();
  status_ = printable(text);
  if (!status_.empty()) write_(status_);
}

void note(const std::string& text) { Console::standard().line(text); }

void say(const std::string& message) { Console::standard().line("fulmar: " + message); }

}  // namespace fulmar::tools
