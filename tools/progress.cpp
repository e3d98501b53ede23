#include "tools/progress.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr double redraw_interval = 0.1, first_line = 5, longest_interval = 60, rate_window = 15;
constexpr int shortest_bar = 8, longest_bar = 30;

std::string joined(const std::vector<std::string>& parts) {
  std::string line;
  for (const std::string& part : parts)
    if (!part.empty()) line += (line.empty() ? "" : "  ") + part;
  return line;
}

}  // namespace

double Progress::steady_seconds() {
  using std::chrono::steady_clock;
  return std::chrono::duration<double>(steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(int64_t total, std::string unit, Console& console, Clock clock)
    : total_(total),
      unit_(std::move(unit)),
      console_(console),
      clock_(std::move(clock)),
      moments_{{clock_(), 0}},
      last_shown_(moments_.front().seconds),
      interval_(first_line) {}

Progress::~Progress() { console_.status(""); }

void Progress::start_at(int64_t done) { moments_ = {{clock_(), done}}; }

void Progress::then(double more, double seconds) {
  more_ = more;
  more_seconds_ = seconds;
}

void Progress::update(int64_t done) {
  const double now = clock_();
  const size_t n = moments_.size();
  if (n > 1 && moments_[n - 1].seconds - moments_[n - 2].seconds < redraw_interval)
    moments_.back() = {now, done};
  else
    moments_.push_back({now, done});
  // One moment before the window stays, so that slow jobs have a rate too.
  while (moments_.size() > 2 && moments_[1].seconds < now - rate_window) moments_.pop_front();

  const int width = console_.width();
  if (width > 0) {
    if (now - last_shown_ < redraw_interval && done != total_) return;
    console_.status(text(width - 1));  // a full line would wrap
  } else {
    if (now - last_shown_ < interval_) return;
    console_.line(text(any_width));
    interval_ = std::min(2 * interval_, longest_interval);
  }
  last_shown_ = now;
}

double Progress::per_second() const {
  const Moment &first = moments_.front(), &last = moments_.back();
  const double seconds = last.seconds - first.seconds;
  return seconds > 0 ? static_cast<double>(last.done - first.done) / seconds : 0;
}

double Progress::seconds_left() const {
  const double rate = per_second();
  if (total_ <= 0 || rate <= 0) return -1;
  return static_cast<double>(std::max<int64_t>(total_ - moments_.back().done, 0)) / rate;
}

std::string Progress::text(int width) const {
  const int64_t done = moments_.back().done;
  const double part =
      total_ > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total_), 0.0, 1.0)
                 : 0;
  const double rate = per_second(), left = seconds_left();
  const std::string percent = total_ > 0 ? fixed(std::floor(100 * part), 0) + " %" : "";
  std::string count =
      (total_ > 0 ? std::to_string(done) + "/" + std::to_string(total_) : std::to_string(done)) +
      " " + unit_;
  std::string speed = rate > 0 ? fixed(rate, rate < 9.995   ? 2
                                             : rate < 99.95 ? 1
                                                            : 0) +
                                     " " + unit_ + "/s"
                               : "";
  std::string time = left >= 0 ? readable_seconds(left) + " left" : "";
  if (left >= 0 && (more_ > 0 || more_seconds_ > 0))
    time += ", run " + readable_seconds(left + more_ / rate + more_seconds_);
  std::string label = label_, detail = detail_;

  const auto behind = [&] { return joined({percent, count, speed, detail, time}); };
  if (width == any_width) return joined({label, behind()});

  // Where the terminal is narrow, the least important goes first.
  const auto needed = [&] { return display_width(joined({label, behind()})); };
  const int bar = total_ > 0 ? shortest_bar + 4 : 0;  // with brackets and a gap
  if (needed() + bar > width) count.clear();
  for (std::string* dispensable : {&speed, &label, &detail, &time})
    if (needed() > width) dispensable->clear();
  if (needed() > width) return "";
  const int room = width - needed() - 4;
  if (bar == 0 || room < shortest_bar) return joined({label, behind()});

  const int length = std::min(room, longest_bar);
  const int filled = static_cast<int>(part * length);
  std::string drawn(static_cast<size_t>(filled), '=');
  if (filled < length) drawn += ">" + std::string(static_cast<size_t>(length - filled - 1), ' ');
  return joined({label, "[" + drawn + "]", behind()});
}

}  // namespace fulmar::tools
