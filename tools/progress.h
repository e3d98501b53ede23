#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "tools/console.h"

namespace fulmar::tools {

// How far a long job is, on stderr: on a terminal a line that redraws itself at most ten times a
// second, elsewhere a line now and then (after 5 s, then ever more rarely, at most one a minute).
//
//   epoch 3/200 [=======>          ]  38 %  618/1632 images  31.2 images/s  loss 0.3121  0:43 left
//
// and with more to come: 0:43 left, run 3:12:07
class Progress {
 public:
  using Clock = std::function<double()>;  // seconds

  static double steady_seconds();

  // `total`: how many there are to do, 0 where nobody knows; `unit`: of what ("images").
  Progress(int64_t total, std::string unit, Console& console = Console::standard(),
           Clock clock = steady_seconds);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void label(std::string text) { label_ = std::move(text); }    // before the bar: "epoch 3/200"
  void detail(std::string text) { detail_ = std::move(text); }  // behind it: "loss 0.3121"
  // A resumed job: what was done before counts in the bar and not in the rate.
  void start_at(int64_t done);
  void update(int64_t done);
  // What comes after this job: more of its unit, at its rate, and something else that takes
  // `seconds`. The time to the end of all ("run") is then shown too.
  void then(double more, double seconds);

  double per_second() const;    // lately; 0 while unknown
  double seconds_left() const;  // of this job; -1: unknown

 private:
  struct Moment {
    double seconds;
    int64_t done;
  };
  static constexpr int any_width = -1;  // as long as it gets, without a bar
  std::string text(int width) const;

  int64_t total_;
  std::string unit_;
  Console& console_;
  Clock clock_;
  std::string label_, detail_;
  std::deque<Moment> moments_;  // of the last seconds, for the rate
  double last_shown_, interval_;
  double more_ = 0, more_seconds_ = 0;
};

}  // namespace fulmar::tools
