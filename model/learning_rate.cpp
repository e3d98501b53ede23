#include "model/learning_rate.h"

#include "kernels/error.h"

namespace fulmar::model {

LearningRate::LearningRate(const Schedule& schedule) : schedule_(schedule) {
  if (const auto* plateau = std::get_if<PlateauSchedule>(&schedule_))
    plateau_ = std::make_unique<ReduceOnPlateau>(plateau->rate, plateau->options);
  rate(0);  // refuses options that make no sense before anything runs
}

double LearningRate::rate(int64_t step) const {
  if (plateau_) return plateau_->rate();
  if (const auto* cycle = std::get_if<OneCycle>(&schedule_)) return cycle->rate(step);
  if (const auto* restarts = std::get_if<CosineRestarts>(&schedule_)) return restarts->rate(step);
  return std::get<WarmupCosine>(schedule_).rate(step);
}

void LearningRate::epoch_ended(double monitored) {
  if (plateau_) plateau_->epoch_ended(monitored);
}

std::string LearningRate::state() const { return plateau_ ? plateau_->state() : std::string(); }

void LearningRate::restore(const std::string& state) {
  if (plateau_)
    plateau_->restore(state);
  else if (!state.empty())
    usage_error("the state of a learning rate is that of another kind of schedule");
}

}  // namespace fulmar::model
