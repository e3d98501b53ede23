#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "tools/console_observer.h"
#include "tools/run/train_run.h"

namespace fulmar::tools {

// Notes, progress and one line an epoch, on stderr; after the first steps, how long it will take.
// It writes report.html.
class Reporter : public RunObserver {
 public:
  explicit Reporter(Console& console = Console::standard(),
                    Progress::Clock clock = Progress::steady_seconds)
      : console_(console), clock_(clock), jobs_(console, std::move(clock)) {}

  void on_note(const std::string& text) override { console_.line(text); }
  Advance on_job(const std::string& label, int64_t total, const std::string& unit) override;
  void on_folder(const std::string& run, bool finished) override;
  void on_batch(const Position& b) override;
  void on_validation(int64_t batches, int64_t of_batches) override;
  void on_epoch(const model::NamedValues& metrics, bool best) override;

 private:
  void estimate(const Position& b);

  Console& console_;
  Progress::Clock clock_;
  ConsoleObserver jobs_;
  std::unique_ptr<Progress> bar_;
  bool validating_ = false;
  int64_t epoch_ = 0, epochs_ = 0;  // of the bar
  int64_t batches_ = 0, first_samples_ = 0;
  double first_batch_ = 0, validation_start_ = 0;  // moments, by the clock
  double validation_seconds_ = 0;                  // of the last epoch's
};

}  // namespace fulmar::tools
