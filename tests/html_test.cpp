// Pieces of pages: text, tables, plots.
#include "tools/report/html.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/support/error_of.h"
#include "tests/support/html_page.h"
#include "tools/report/svg_plot.h"
#include "tools/run/base64.h"

using namespace fulmar;
using namespace fulmar::test;
using namespace fulmar::tools;

TEST_CASE("text is escaped, whatever its bytes") {
  CHECK(escaped("a<b> & \"c\" 'd'") == "a&lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;");
  CHECK(escaped("Grönland") == "Grönland");
  CHECK(escaped("\xE6s\x01\x7F") == "\xEF\xBF\xBDs\xEF\xBF\xBD\xEF\xBF\xBD");
  CHECK(element("td", "<") == "<td>&lt;</td>");
  CHECK(element("td", "x", "class=\"y\"") == "<td class=\"y\">x</td>");
  const std::string script = json_script("n", {{"name", "</script><!--"}});
  CHECK(count_of(script, "<") == 2);
  CHECK(has(script, "\\u003c/script>"));
}

TEST_CASE("base64 as in RFC 4648, there and back") {
  const std::vector<std::pair<std::string, std::string>> rows{{"", ""},
                                                              {"f", "Zg=="},
                                                              {"fo", "Zm8="},
                                                              {"foo", "Zm9v"},
                                                              {"foob", "Zm9vYg=="},
                                                              {"fooba", "Zm9vYmE="},
                                                              {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : rows) {
    CHECK(base64(bytes) == text);
    CHECK(from_base64(text) == bytes);
  }
  std::string all;
  for (int i = 0; i < 256; i++) all += static_cast<char>(i);
  CHECK(from_base64(base64(all)) == all);
  for (const char* bad : {"Zg=", "Z===", "Zg==Zg==", "Z*==", "=Zg="})
    CHECK(has(error_of(ErrorKind::file, [&] { from_base64(bad); }), "base64"));
}

TEST_CASE("ticks are round") {
  CHECK(round_ticks(0, 1, 5) == std::vector<double>{0, 0.2, 2 * 0.2, 3 * 0.2, 0.8, 1});
  CHECK(round_ticks(0.3, 2.4, 4) == std::vector<double>{1, 2});
  CHECK(round_ticks(1, 4, 7, true) == std::vector<double>{1, 2, 3, 4});
  CHECK(round_ticks(1, 200, 5, true) == std::vector<double>{50, 100, 150, 200});
  const double next = 1 + std::numeric_limits<double>::epsilon();  // 1 / step is beyond 2^53
  CHECK(round_ticks(1, next, 5).size() <= 6);
  CHECK(round_ticks(-next, -1, 1).size() <= 2);
  CHECK(logarithmic_ticks(0.005, 2) == std::vector<double>{0.01, 0.1, 1});
  CHECK(logarithmic_ticks(1, 10) == std::vector<double>{1, 2, 5, 10});
  for (const auto& [value, text] : std::vector<std::pair<double, std::string>>{{0, "0"},
                                                                               {0.2, "0.2"},
                                                                               {3 * 0.2, "0.6"},
                                                                               {1, "1"},
                                                                               {2500, "2,500"},
                                                                               {1e-5, "1e-5"},
                                                                               {1.5e-4, "1.5e-4"},
                                                                               {-0.25, "-0.25"},
                                                                               {2e7, "2e7"},
                                                                               {0.001, "0.001"}})
    CHECK(tick_text(value) == text);
}

TEST_CASE("an axis holds all that is finite") {
  const PlotAxis axis = axis_for("y", {0.21, NAN, 0.79, INFINITY}, false);
  CHECK(axis.low <= 0.21);
  CHECK(axis.low >= 0.1);
  CHECK(axis.high >= 0.79);
  CHECK(axis.high <= 0.9);
  CHECK(axis_for("y", {0.001, 1}, true).logarithmic);
  CHECK_FALSE(axis_for("y", {0.001, 1}, false).logarithmic);
  CHECK_FALSE(axis_for("y", {0, 1}, true).logarithmic);
  const double next = 1 + std::numeric_limits<double>::epsilon();
  for (const std::vector<double>& flat :
       {std::vector<double>{}, {NAN}, {0}, {0.5, 0.5}, {-3}, {1, next}, {-next, -1}}) {
    const PlotAxis one = axis_for("y", flat, true);
    CHECK(one.high - one.low >= 0.25);
    CHECK(round_ticks(one.low, one.high, 5).size() >= 2);
  }
}

TEST_CASE("plots: gaps, lone points, labels apart, escapes") {
  Plot plot;
  plot.title = "a < b";
  plot.description = "\"quoted\" & more";
  plot.x = {"epoch", 1, 5};
  plot.y = {"y", 0, 1};
  plot.series.push_back({"a", "<one>", {{1, 0}, {2, 0.5}, {3, NAN}, {4, 0.5}, {5, NAN}}});
  plot.series.push_back({"b", "two", {{1, 0.1}, {2, 0.2}, {3, 0.4}, {4, 0.5}, {5, 0.9}}});
  const std::string text = svg(plot);
  CHECK(has(text, "aria-label=\"a &lt; b\""));
  CHECK(has(text, "<desc>&quot;quoted&quot; &amp; more</desc>"));
  CHECK(has(text, "&lt;one&gt;"));
  CHECK(count_of(text, "<path") == 2);
  CHECK(count_of(text, "<circle") == 1);  // the point between two gaps
  CHECK_FALSE(has(text, "nan"));
  const std::vector<std::string> paths = all_matches(text, " d=\"([^\"]*)\"");
  CHECK(count_of(paths.at(0), "M") == 1);
  CHECK(count_of(paths.at(1), "L") == 4);

  // Two that end together: their labels don't touch.
  plot.series[0].points = plot.series[1].points;
  std::vector<double> heights;
  for (const std::string& y :
       all_matches(svg(plot), "class=\"label fill-[ab]\" x=\"[0-9.]*\" y=\"([0-9.]*)\""))
    heights.push_back(std::stod(y));
  REQUIRE(heights.size() == 2);
  CHECK(std::abs(heights[0] - heights[1]) >= 12);

  plot.y = {"y", 1, 1};
  CHECK(has(error_of(ErrorKind::usage, [&] { svg(plot); }), "'y' has no extent"));
  plot.y = {"y", 0, 1, true};
  CHECK(has(error_of(ErrorKind::usage, [&] { svg(plot); }), "logarithmic"));
}

TEST_CASE("points on the way between two others are left out") {
  Plot plot;
  plot.x = {"x", 0, 1};
  plot.y = {"y", 0, 1};
  PlotSeries series{"a", "", {}};
  for (int i = 0; i <= 1000; i++) series.points.push_back({i / 1000.0, i < 500 ? 0.25 : 0.75});
  plot.series.push_back(series);
  const std::vector<std::string> paths = all_matches(svg(plot), " d=\"([^\"]*)\"");
  REQUIRE(paths.size() == 1);
  CHECK(count_of(paths[0], "L") == 3);
  // A dip is not on the way.
  plot.series[0].points = {{0, 0.5}, {0.5, 0.5}, {0.5, 0.2}, {0.5, 0.4}, {1, 0.4}};
  CHECK(count_of(all_matches(svg(plot), " d=\"([^\"]*)\"").at(0), "L") == 4);
}
