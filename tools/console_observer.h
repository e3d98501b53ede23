#pragma once

#include <string>

#include "tools/console.h"
#include "tools/progress.h"
#include "tools/run/observer.h"

namespace fulmar::tools {

// Notes as lines on the console, jobs as progress below them.
class ConsoleObserver : public Observer {
 public:
  explicit ConsoleObserver(Console& console = Console::standard(),
                           Progress::Clock clock = Progress::steady_seconds)
      : console_(console), clock_(std::move(clock)) {}

  void on_note(const std::string& text) override { console_.line(text); }
  Advance on_job(const std::string& label, int64_t total, const std::string& unit) override;

 private:
  Console& console_;
  Progress::Clock clock_;
};

}  // namespace fulmar::tools
