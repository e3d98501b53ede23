#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "model/trainer.h"
#include "tools/console.h"
#include "tools/progress.h"

namespace fulmar::tools {

// Progress and one line an epoch, on stderr; after the first steps, how long it will take.
class Reporter : public model::TrainObserver {
 public:
  // `each_batch` is called after every batch, of training and of validation.
  explicit Reporter(std::function<void()> each_batch, Console& console = Console::standard(),
                    Progress::Clock clock = Progress::steady_seconds)
      : each_batch_(std::move(each_batch)), console_(console), clock_(std::move(clock)) {}

  void on_batch(const Position& b) override;
  void on_validation(int64_t batches, int64_t of_batches) override;
  void on_epoch(const model::NamedValues& metrics, bool best) override;

 private:
  void estimate(const Position& b);

  std::function<void()> each_batch_;
  Console& console_;
  Progress::Clock clock_;
  std::unique_ptr<Progress> bar_;
  bool validating_ = false;
  int64_t epoch_ = 0, epochs_ = 0;  // of the bar
  int64_t batches_ = 0, first_samples_ = 0;
  double first_batch_ = 0, validation_start_ = 0;  // moments, by the clock
  double validation_seconds_ = 0;                  // of the last epoch's
};

}  // namespace fulmar::tools
