#pragma once

#include <string>
#include <vector>

// Plots as inline SVG. Colours and type come from the page's style (style.h): a series has a
// class, "a" or "b" for colours that everybody can tell apart, or "faint".
namespace fulmar::tools {

struct PlotPoint {
  double x = 0, y = 0;  // a y that is not finite leaves a gap
};

struct PlotSeries {
  std::string style;
  std::string label;  // written at its end, in its colour; "": none
  std::vector<PlotPoint> points;
  // Radii of dots at the points; none: a dot only where a point stands alone.
  std::vector<double> dots{};
  std::string name{};  // shown when pointed at; "": the label
};

struct PlotMark {
  double x = 0, y = 0;
  std::string label;
  bool below = false;  // the label, where there is more room
};

struct PlotBar {
  double low = 0, high = 0, value = 0;
  std::string label;  // above it
};

struct PlotAxis {
  std::string title;
  double low = 0, high = 1;
  bool logarithmic = false;
  bool whole = false;       // ticks at whole numbers only
  bool unlabelled = false;  // without ticks
};

struct Plot {
  std::string title;        // above it
  std::string description;  // what it shows, for those who don't see it
  PlotAxis x, y;
  std::vector<PlotSeries> series{};
  std::vector<PlotMark> marks{};
  std::vector<PlotBar> bars{};
  std::vector<PlotMark> rules{};  // vertical lines at x
  bool diagonal = false;          // from corner to corner, as a guide
  double width = 360, height = 250;
};

// Error(usage) for an axis without extent, or a logarithmic one that is not above 0.
std::string svg(const Plot& plot);

// The plot below its title, with a caption (HTML).
std::string plot_figure(const Plot& plot, const std::string& caption);

// Round numbers within [low, high], about `count` of them: 1, 2 or 5 times a power of ten apart.
std::vector<double> round_ticks(double low, double high, int count, bool whole = false);
// Powers of ten within [low, high], and numbers between them where there is room.
std::vector<double> logarithmic_ticks(double low, double high);
// "0.25", "1,000", "5e-5": short, for an axis.
std::string tick_text(double value);

// An axis that holds all values that are finite: from round to round number. Logarithmic where
// `may_be_logarithmic` and they span more than a factor of 30, all above 0.
PlotAxis axis_for(const std::string& title, const std::vector<double>& values,
                  bool may_be_logarithmic);

}  // namespace fulmar::tools
