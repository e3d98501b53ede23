#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "model/callbacks.h"
#include "model/schedule.h"

namespace fulmar::model {

struct PlateauSchedule {
  double rate = 1e-3;  // of the first epochs
  ReduceOnPlateau::Options options{};
};

using Schedule = std::variant<PlateauSchedule, OneCycle, WarmupCosine, CosineRestarts>;

// The learning rate of every optimiser step of a run, by one of the schedules.
class FULMAR_API LearningRate {
 public:
  // Error(usage) for a schedule with a number out of its range.
  explicit LearningRate(const Schedule& schedule);

  double rate(int64_t step) const;  // step counted from 0
  void epoch_ended(double monitored);

  std::string state() const;
  // Error(usage) for text that state() of the same kind of schedule did not give.
  void restore(const std::string& state);

 private:
  Schedule schedule_;
  std::unique_ptr<ReduceOnPlateau> plateau_;  // the only schedule with a memory
};

}  // namespace fulmar::model
