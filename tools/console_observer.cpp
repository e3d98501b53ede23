#include "tools/console_observer.h"

#include <memory>

namespace fulmar::tools {

Advance ConsoleObserver::on_job(const std::string& label, int64_t total, const std::string& unit) {
  const auto progress = std::make_shared<Progress>(total, unit, console_, clock_);
  progress->label(label);
  return [progress](int64_t done) { progress->update(done); };
}

}  // namespace fulmar::tools
