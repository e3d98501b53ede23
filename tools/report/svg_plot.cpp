#include "tools/report/svg_plot.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "kernels/error.h"
#include "tools/report/html.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr double letter = 6.2;  // width of one, about, in the plot's units

std::string number(double value) {
  std::string text = fixed(value, 1);
  if (text.size() > 2 && text.compare(text.size() - 2, 2, ".0") == 0) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

// Places on the page of values on an axis.
class Scale {
 public:
  Scale(const PlotAxis& axis, double from, double to)
      : axis_(axis), from_(from), to_(to), low_(map(axis.low)), high_(map(axis.high)) {
    if (axis.logarithmic && axis.low <= 0)
      usage_error("the logarithmic axis '" + axis.title + "' begins at or below 0");
    if (!(high_ > low_)) usage_error("the axis '" + axis.title + "' has no extent");
  }
  double operator()(double value) const {
    const double share = std::clamp((map(value) - low_) / (high_ - low_), 0.0, 1.0);
    return from_ + (to_ - from_) * share;
  }
  std::vector<double> ticks(int count) const {
    if (axis_.unlabelled) return {};
    return axis_.logarithmic ? logarithmic_ticks(axis_.low, axis_.high)
                             : round_ticks(axis_.low, axis_.high, count, axis_.whole);
  }

 private:
  double map(double value) const { return axis_.logarithmic ? std::log10(value) : value; }

  PlotAxis axis_;
  double from_, to_, low_, high_;
};

struct Frame {
  double left, right, top, bottom;
  Scale x, y;
};

Frame frame_of(const Plot& plot) {
  int longest = 0;
  size_t widest = 0;
  for (const PlotSeries& s : plot.series) longest = std::max(longest, display_width(s.label));
  const Scale rough(plot.y, 0, 1);
  for (const double tick : rough.ticks(5)) widest = std::max(widest, tick_text(tick).size());
  const double left = 12 + letter * static_cast<double>(widest) + (plot.y.title.empty() ? 0 : 16);
  const double right = plot.width - (longest == 0 ? 12 : 12 + letter * longest);
  const double top = 14, bottom = plot.height - (plot.x.title.empty() ? 22 : 38);
  return {left, right, top, bottom, Scale(plot.x, left, right), Scale(plot.y, bottom, top)};
}

std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line class=\"" + style + "\" x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" +
         number(x2) + "\" y2=\"" + number(y2) + "\"/>\n";
}

std::string text(double x, double y, const std::string& what, const std::string& style,
                 const std::string& more = "") {
  return "<text class=\"" + style + "\" x=\"" + number(x) + "\" y=\"" + number(y) + "\"" + more +
         ">" + escaped(what) + "</text>\n";
}

std::string axes(const Plot& plot, const Frame& f) {
  std::string all;
  for (const double tick : f.y.ticks(5)) {
    all += line(f.left, f.y(tick), f.right, f.y(tick), "grid");
    all += text(f.left - 6, f.y(tick) + 3.5, tick_text(tick), "tick end");
  }
  const int fit = static_cast<int>((f.right - f.left) / 50);
  for (const double tick : f.x.ticks(std::max(2, fit))) {
    all += line(f.x(tick), f.bottom, f.x(tick), f.bottom + 4, "axis");
    all += text(f.x(tick), f.bottom + 16, tick_text(tick), "tick middle");
  }
  all += line(f.left, f.bottom, f.right, f.bottom, "axis");
  if (!plot.x.title.empty())
    all += text((f.left + f.right) / 2, plot.height - 5, plot.x.title, "title middle");
  if (!plot.y.title.empty()) {
    const double y = (f.top + f.bottom) / 2;
    all += text(11, y, plot.y.title, "title middle",
                " transform=\"rotate(-90 11 " + number(y) + ")\"");
  }
  return all;
}

// Pixels of a series, without what lies on the way between two others.
struct Path {
  std::string commands;
  std::vector<PlotPoint> dots;  // points that have no neighbour, or those with a radius
  std::vector<double> radii;
  PlotPoint last;
};

Path path_of(const PlotSeries& series, const Frame& f) {
  Path path;
  std::vector<PlotPoint> run;
  const auto end_run = [&] {
    if (run.size() == 1 && series.dots.empty()) {
      path.dots.push_back(run[0]);
      path.radii.push_back(3);
    }
    if (run.size() > 1) {
      path.commands += "M" + number(run[0].x) + " " + number(run[0].y);
      for (size_t i = 1; i < run.size(); i++)
        path.commands += "L" + number(run[i].x) + " " + number(run[i].y);
    }
    run.clear();
  };
  for (size_t i = 0; i < series.points.size(); i++) {
    const PlotPoint& point = series.points[i];
    if (!std::isfinite(point.y)) {
      end_run();
      continue;
    }
    const PlotPoint at{std::round(f.x(point.x) * 10) / 10, std::round(f.y(point.y) * 10) / 10};
    path.last = at;
    if (i < series.dots.size()) {
      path.dots.push_back(at);
      path.radii.push_back(series.dots[i]);
    }
    const size_t n = run.size();
    if (n > 0 && run[n - 1].x == at.x && run[n - 1].y == at.y) continue;
    const bool level = n > 1 && run[n - 1].y == at.y && run[n - 2].y == at.y &&
                       (run[n - 2].x < run[n - 1].x) == (run[n - 1].x < at.x);
    const bool steep = n > 1 && run[n - 1].x == at.x && run[n - 2].x == at.x &&
                       (run[n - 2].y < run[n - 1].y) == (run[n - 1].y < at.y);
    if (level || steep)
      run.back() = at;
    else
      run.push_back(at);
  }
  end_run();
  return path;
}

struct EndLabel {
  std::string text, style;
  double x, y;
};

// Labels at the ends of lines, moved apart where they would touch.
std::string end_labels(std::vector<EndLabel> labels, const Frame& f) {
  constexpr double apart = 13;
  std::stable_sort(labels.begin(), labels.end(),
                   [](const EndLabel& a, const EndLabel& b) { return a.y < b.y; });
  for (size_t i = 1; i < labels.size(); i++)
    labels[i].y = std::max(labels[i].y, labels[i - 1].y + apart);
  double limit = f.bottom;
  for (size_t i = labels.size(); i-- > 0; limit = labels[i].y - apart)
    labels[i].y = std::min(labels[i].y, limit);
  std::string all;
  for (const EndLabel& label : labels)
    all += text(label.x + 6, label.y + 3.5, label.text, "label fill-" + label.style);
  return all;
}

std::string series_of(const Plot& plot, const Frame& f) {
  std::string all;
  std::vector<EndLabel> labels;
  for (const PlotSeries& series : plot.series) {
    const Path path = path_of(series, f);
    const std::string name = series.name.empty() ? series.label : series.name;
    const std::string title = name.empty() ? "" : element("title", name);
    if (!path.commands.empty())
      all += "<path class=\"line " + series.style + "\" d=\"" + path.commands + "\">" + title +
             "</path>\n";
    for (size_t i = 0; i < path.dots.size(); i++)
      all += "<circle class=\"dot fill-" + series.style + "\" cx=\"" + number(path.dots[i].x) +
             "\" cy=\"" + number(path.dots[i].y) + "\" r=\"" + number(path.radii[i]) + "\">" +
             title + "</circle>\n";
    if (!series.label.empty() && (!path.commands.empty() || !path.dots.empty()))
      labels.push_back({series.label, series.style, path.last.x, path.last.y});
  }
  return all + end_labels(std::move(labels), f);
}

std::string bars_of(const Plot& plot, const Frame& f) {
  std::string all;
  for (const PlotBar& bar : plot.bars) {
    const double left = f.x(bar.low) + 1, right = f.x(bar.high) - 1;
    const double top = f.y(bar.value);
    if (bar.value > 0)
      all += "<rect class=\"bar\" x=\"" + number(left) + "\" y=\"" + number(top) + "\" width=\"" +
             number(std::max(0.5, right - left)) + "\" height=\"" + number(f.bottom - top) +
             "\"/>\n";
    if (!bar.label.empty()) all += text((left + right) / 2, top - 3, bar.label, "tick middle");
  }
  return all;
}

// A label beside a place, on the side where there is room.
std::string label_at(double x, double y, const std::string& what, const Frame& f) {
  const bool fits = x + 8 + letter * display_width(what) < f.right;
  return text(fits ? x + 8 : x - 8, y, what, fits ? "label" : "label end");
}

std::string marks_of(const Plot& plot, const Frame& f) {
  std::string all;
  for (const PlotMark& rule : plot.rules) {
    all += line(f.x(rule.x), f.top, f.x(rule.x), f.bottom, "rule");
    all += label_at(f.x(rule.x) - 4, f.top - 4, rule.label, f);
  }
  for (const PlotMark& mark : plot.marks) {
    const double x = f.x(mark.x), y = f.y(mark.y);
    all += "<circle class=\"mark\" cx=\"" + number(x) + "\" cy=\"" + number(y) + "\" r=\"4.5\"/>\n";
    const bool below = mark.below && y + 20 < f.bottom;
    all += label_at(x, below ? y + 17 : y - 9, mark.label, f);
  }
  return all;
}

}  // namespace

std::string svg(const Plot& plot) {
  const Frame f = frame_of(plot);
  std::string all = "<svg class=\"plot\" role=\"img\" viewBox=\"0 0 " + number(plot.width) + " " +
                    number(plot.height) + "\" aria-label=\"" + escaped(plot.title) + "\">\n" +
                    element("title", plot.title) + "\n" + element("desc", plot.description) + "\n";
  all += bars_of(plot, f) + axes(plot, f);
  if (plot.diagonal) all += line(f.left, f.bottom, f.right, f.top, "guide");
  return all + series_of(plot, f) + marks_of(plot, f) + "</svg>\n";
}

std::string plot_figure(const Plot& plot, const std::string& caption) {
  return "<figure>\n" + element("p", plot.title, "class=\"plot-title\"") + svg(plot) +
         "<figcaption>" + caption + "</figcaption>\n</figure>\n";
}

std::vector<double> round_ticks(double low, double high, int count, bool whole) {
  const double rough = (high - low) / std::max(1, count);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= rough * (1 - 1e-9)) step = factor * power;
  if (whole) step = std::max(1.0, std::round(step));
  std::vector<double> ticks;
  const double slack = step * 1e-9;
  const double first = std::ceil((low - slack) / step);
  // No step is shorter than rough, so that there are no more; where the ends are but a few bits
  // apart, first + i is not always another number.
  for (int i = 0; i <= std::max(1, count) && (first + i) * step <= high + slack; i++)
    ticks.push_back((first + i) * step);
  return ticks;
}

std::vector<double> logarithmic_ticks(double low, double high) {
  const double decades = std::log10(high / low);
  const std::vector<double> factors = decades > 2.5   ? std::vector<double>{1}
                                      : decades > 1.2 ? std::vector<double>{1, 3}
                                                      : std::vector<double>{1, 2, 5};
  const auto every = static_cast<int>(std::max(1.0, std::ceil(decades / 6)));
  const auto first = static_cast<int>(std::floor(std::log10(low)));
  std::vector<double> ticks;
  for (int power = first; power <= std::log10(high) + 1e-9; power++)
    for (const double factor : factors) {
      const double tick = factor * std::pow(10, power);
      if (power % every == 0 && tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9))
        ticks.push_back(tick);
    }
  return ticks;
}

std::string tick_text(double value) {
  if (std::abs(value) < 1e-15) return "0";
  std::array<char, 64> digits;
  const bool plain = std::abs(value) >= 1e-3 && std::abs(value) < 1e6;
  const auto format = plain ? std::chars_format::fixed : std::chars_format::scientific;
  char* end =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, format, plain ? 6 : 3).ptr;
  std::string all(digits.data(), static_cast<size_t>(end - digits.data()));
  const size_t exponent = std::min(all.find('e'), all.size());
  std::string number = all.substr(0, exponent);
  if (number.find('.') != number.npos) {
    number.erase(number.find_last_not_of('0') + 1);
    if (number.back() == '.') number.pop_back();
  }
  if (exponent == all.size()) {
    const bool whole = number.find('.') == number.npos;
    return whole ? with_separators(static_cast<int64_t>(std::llround(value))) : number;
  }
  const int power = std::stoi(all.substr(exponent + 1));
  return number + "e" + std::to_string(power);
}

PlotAxis axis_for(const std::string& title, const std::vector<double>& values,
                  bool may_be_logarithmic) {
  PlotAxis axis;
  axis.title = title;
  double low = INFINITY, high = -INFINITY;
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  if (low > high) return axis;
  if (may_be_logarithmic && low > 0 && high > 30 * low) {
    axis.logarithmic = true;
    axis.title += " (log scale)";
    axis.low = low / 1.15;
    axis.high = high * 1.15;
    return axis;
  }
  if (high - low <= 1e-9 * std::max(std::abs(low), std::abs(high))) {  // rounding
    const double room = std::abs(low) / 2;
    low -= room;
    high += room > 0 ? room : 1;
  }
  const std::vector<double> ticks = round_ticks(low, high, 5);
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : high - low;
  axis.low = std::floor(low / step + 1e-9) * step;
  axis.high = std::ceil(high / step - 1e-9) * step;
  return axis;
}

}  // namespace fulmar::tools
