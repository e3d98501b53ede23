#include "model/callbacks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace fulmar::model {
namespace {

using Json = nlohmann::json;

constexpr double infinity = std::numeric_limits<double>::infinity();

double worst(Goal goal) { return goal == Goal::lowest ? infinity : -infinity; }

// JSON has no infinities, so numbers go as their bits, with the number beside for people.
Json stored(double number) {
  return Json{{"bits", std::bit_cast<uint64_t>(number)}, {"value", number}};
}
double number_of(const Json& stored) {
  return std::bit_cast<double>(stored.at("bits").get<uint64_t>());
}

template <class Read>
void read_state(const std::string& state, const char* whose, const Read& read) {
  try {
    read(Json::parse(state));
  } catch (const Json::exception&) {
    usage_error(std::string("the state of ") + whose +
                " is not what this version of fulmar writes");
  }
}

}  // namespace

ReduceOnPlateau::ReduceOnPlateau(double rate, const Options& options)
    : options_(options), rate_(rate), best_(worst(options.goal)) {
  if (!(options.factor > 0 && options.factor < 1))
    usage_error("the factor that reduces the learning rate must lie between 0 and 1");
}

bool ReduceOnPlateau::epoch_ended(double monitored) {
  if (cooldown_left_ > 0) {
    cooldown_left_--;
    waited_ = 0;
  }
  const bool improved = options_.goal == Goal::lowest ? monitored < best_ - options_.min_delta
                                                      : monitored > best_ + options_.min_delta;
  if (improved) {
    best_ = monitored;
    waited_ = 0;
    return false;
  }
  if (cooldown_left_ > 0 || ++waited_ < options_.patience || rate_ <= options_.min_rate)
    return false;
  rate_ = std::max(rate_ * options_.factor, options_.min_rate);
  cooldown_left_ = options_.cooldown;
  waited_ = 0;
  return true;
}

std::string ReduceOnPlateau::state() const {
  return Json{{"rate", stored(rate_)},
              {"best", stored(best_)},
              {"waited", waited_},
              {"cooldown_left", cooldown_left_}}
      .dump();
}

void ReduceOnPlateau::restore(const std::string& state) {
  read_state(state, "the learning rate's reduction", [this](const Json& json) {
    const double rate = number_of(json.at("rate")), best = number_of(json.at("best"));
    const auto waited = json.at("waited").get<int64_t>();
    cooldown_left_ = json.at("cooldown_left").get<int64_t>();
    rate_ = rate;
    best_ = best;
    waited_ = waited;
  });
}

EarlyStopping::EarlyStopping(const Options& options)
    : options_(options), best_(worst(options.goal)) {}

bool EarlyStopping::epoch_ended(double monitored) {
  epochs_++;
  waited_++;
  const bool improved = options_.goal == Goal::lowest ? monitored + options_.min_delta < best_
                                                      : monitored - options_.min_delta > best_;
  if (improved) {
    best_ = monitored;
    waited_ = 0;
    return false;
  }
  return waited_ >= options_.patience && epochs_ > 1;
}

std::string EarlyStopping::state() const {
  return Json{{"best", stored(best_)}, {"epochs", epochs_}, {"waited", waited_}}.dump();
}

void EarlyStopping::restore(const std::string& state) {
  read_state(state, "early stopping", [this](const Json& json) {
    const double best = number_of(json.at("best"));
    const auto epochs = json.at("epochs").get<int64_t>();
    waited_ = json.at("waited").get<int64_t>();
    best_ = best;
    epochs_ = epochs;
  });
}

BestEpoch::BestEpoch(Goal goal) : goal_(goal) {}

bool BestEpoch::epoch_ended(int64_t epoch, double monitored) {
  const bool better = goal_ == Goal::lowest ? monitored < best_ : monitored > best_;
  if (epoch_ != 0 && !better && !(std::isnan(best_) && !std::isnan(monitored))) return false;
  best_ = monitored;
  epoch_ = epoch;
  return true;
}

std::string BestEpoch::state() const {
  return Json{{"best", stored(best_)}, {"epoch", epoch_}}.dump();
}

void BestEpoch::restore(const std::string& state) {
  read_state(state, "the best epoch", [this](const Json& json) {
    const double best = number_of(json.at("best"));
    epoch_ = json.at("epoch").get<int64_t>();
    best_ = best;
  });
}

}  // namespace fulmar::model
