#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace fulmar::tools {

// The program's messages to people. A line that redraws itself (the status) may stand below them.
// Any thread may call.
class Console {
 public:
  using Write = std::function<void(std::string_view)>;
  using Width = std::function<int()>;  // columns; 0: not a terminal

  Console(Write write, Width width) : write_(std::move(write)), width_(std::move(width)) {}

  // The process' console on stderr. A text that stderr can't take is lost; no error follows.
  static Console& standard();

  int width() const { return width_(); }
  // Shows a whole line for good, above the status. Control characters become '?'.
  void line(std::string_view text);
  // Replaces the status (terminals only); "" takes it away.
  void status(std::string_view text);

 private:
  void clear_status();

  Write write_;
  Width width_;
  std::mutex mutex_;
  std::string status_;
};

// A line on stderr that informs.
void note(const std::string& text);
// "fulmar: `message`" on stderr.
void say(const std::string& message);

}  // namespace fulmar::tools
