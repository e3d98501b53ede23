#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/report/experiments.h"
#include "tools/report/html.h"
#include "tools/report/report.h"
#include "tools/report/svg_plot.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

std::string f1_name(const Evaluation& e) {
  return e.two_classes() ? "F1 of " + e.positive() : "Macro F1";
}

// Shares to the thousandth, others to three digits.
std::string range_text(const RobustnessProperty& property, const RobustnessBin& bin) {
  const auto [least, most] =
      std::minmax_element(property.column.values.begin(), property.column.values.end());
  const bool shares = *least >= 0 && *most <= 1;
  const auto text = [&](double value) {
    return shares && value != 0 && value != 1 ? fixed(value, 3) : rounded(value, 3);
  };
  return bin.low == bin.high ? text(bin.low) : text(bin.low) + " to " + text(bin.high);
}

std::string capitalised(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

std::vector<std::string> row_of(const std::string& name, const PartScores& scores, bool two) {
  std::vector<std::string> row{name, with_separators(scores.pictures)};
  if (two) row.push_back(with_separators(scores.positives));
  row.push_back(interval_text(scores.accuracy));
  row.push_back(interval_text(scores.f1));
  if (!two) return row;
  row.push_back(interval_text(scores.recall));
  row.push_back(interval_text(scores.false_alarms));
  return row;
}

// A score over a property: the bins with their intervals, and the whole set as a level.
std::string curve_of(const RobustnessProperty& property, const std::string& score,
                     Interval PartScores::*member, const Interval& whole) {
  Plot plot;
  plot.title = score + " by " + property.column.name;
  plot.description = plot.title + ":";
  std::vector<double> across, up{whole.value};
  PlotSeries line{"a", "", {}, {}, score};
  for (const RobustnessBin& bin : property.bins) {
    const Interval& value = bin.scores.*member;
    across.push_back(bin.mean);
    up.insert(up.end(), {value.value, value.low, value.high});
    line.points.push_back({bin.mean, value.value});
    line.dots.push_back(std::isfinite(value.value) ? 3.5 : 0);
    if (std::isfinite(value.low))
      plot.series.push_back({"a", "", {{bin.mean, value.low}, {bin.mean, value.high}}, {}, score});
    plot.description += " " + range_text(property, bin) + ": " + interval_text(value) + ".";
  }
  plot.x = axis_for(property.column.name, across, false);
  plot.y = axis_for(score, up, false);
  plot.y.high = std::min(plot.y.high, 1.0);
  if (plot.y.low >= plot.y.high) plot.y.low = plot.y.high - 0.1;
  plot.series.insert(plot.series.begin(), {"faint",
                                           "all",
                                           {{plot.x.low, whole.value}, {plot.x.high, whole.value}},
                                           {},
                                           "all pictures"});
  plot.series.push_back(std::move(line));
  return plot_figure(plot,
                     "A dot for each bin at its mean, with its 95 % interval; grey: all "
                     "pictures.");
}

std::string examples_part(const Robustness& r, const RobustnessProperty& property) {
  std::string figures, none;
  for (const ExampleGroup& group : property.examples) {
    if (group.pictures.empty()) none += (none.empty() ? "" : ", ") + group.name;
    for (const Mistake& picture : group.pictures) {
      const double value = property.column.values[static_cast<size_t>(picture.sample)];
      figures += picture_figure(r.evaluation, picture,
                                group.name + ": " + property.column.name + " " + rounded(value, 2));
    }
  }
  if (figures.empty()) return "";
  return element("h3", "The least and the most " + property.column.name + ", right and wrong") +
         "<div class=\"mistakes\">\n" + figures + "</div>\n" +
         (none.empty() ? "" : element("p", "None: " + none + ".", "class=\"quiet\""));
}

std::string section_of(const Robustness& r, const RobustnessProperty& property,
                       const std::string& id) {
  return "<section id=\"" + id + "\">\n" + element("h2", property.column.name) +
         element("p", capitalised(property.column.meaning) + ".") +
         robustness_table(r, property).to_string() + "<div class=\"columns\">\n" +
         curve_of(property, "Accuracy", &PartScores::accuracy, r.whole.accuracy) +
         curve_of(property, f1_name(r.evaluation), &PartScores::f1, r.whole.f1) + "</div>\n" +
         examples_part(r, property) + "</section>\n";
}

std::string id_of(size_t property) { return "property-" + std::to_string(property + 1); }

Facts facts_of(const Robustness& r, const std::string& command) {
  const Evaluation& e = r.evaluation;
  Facts facts{{"Model", e.model},
              {"Pictures", with_separators(e.predictions.size()) + " of " + e.folder},
              {"Table", r.table.empty() ? "none: measured in the pictures" : r.table}};
  if (e.two_classes())
    facts.emplace_back("Threshold", score_text(e.threshold) + ": called " + e.positive() +
                                        " where its probability is no less");
  if (!command.empty()) facts.emplace_back("Command", command);
  if (!e.time.empty()) facts.emplace_back("Time", e.time);
  return facts;
}

std::string how_part(const Robustness& r) {
  const bool two = r.evaluation.two_classes();
  std::string text =
      "Bins hold about equal numbers of pictures; equal values stay together. Intervals are of "
      "95 %: of accuracy";
  if (two) text += ", recall and false alarms";
  text +=
      " Wilson’s score interval (1927), of F1 the percentiles of 1,000 bootstrap resamples "
      "(Efron and Tibshirani 1993).";
  if (two)
    text += " False alarms: the share of the other pictures that are called " +
            r.evaluation.positive() + ". Accuracy and F1 also move with the share of " +
            r.evaluation.positive() + " in a bin; recall and false alarms don’t.";
  else
    text += " Macro F1 is the mean over the classes that a bin has pictures of.";
  return element("p", text, "class=\"quiet\"");
}

}  // namespace

std::string interval_text(const Interval& interval) {
  if (!std::isfinite(interval.value)) return "–";
  std::string text = fixed(interval.value, 3);
  if (std::isfinite(interval.low))
    text += " [" + fixed(interval.low, 3) + ", " + fixed(interval.high, 3) + "]";
  return text;
}

HtmlTable robustness_table(const Robustness& r, const RobustnessProperty& property) {
  const bool two = r.evaluation.two_classes();
  HtmlTable table;
  table.caption = "By " + property.column.name + ", with 95 % intervals";
  table.columns = {property.column.name, "pictures"};
  if (two) table.columns.push_back(r.evaluation.positive());
  table.columns.push_back("accuracy");
  table.columns.push_back(two ? "F1" : "macro F1");
  if (two) table.columns.insert(table.columns.end(), {"recall", "false alarms"});
  for (const RobustnessBin& bin : property.bins)
    table.rows.push_back(row_of(range_text(property, bin), bin.scores, two));
  table.rows.push_back(row_of("all", r.whole, two));
  return table;
}

std::string robustness_html(const Robustness& r, const std::string& command) {
  const Evaluation& e = r.evaluation;
  const std::string title = "Robustness of " + last_part(e.model);
  std::string body = "<header>\n" +
                     element("p", pictures_line(r.generated, e.predictions.size(), e.folder),
                             r.generated ? "class=\"warning\"" : "class=\"quiet\"") +
                     element("h1", title) + "<nav aria-label=\"Contents\"><ul>\n";
  for (size_t i = 0; i < r.properties.size(); i++)
    body +=
        "<li><a href=\"#" + id_of(i) + "\">" + escaped(r.properties[i].column.name) + "</a></li>\n";
  body += "</ul></nav>\n</header>\n<main>\n" +
          fact_table("What was evaluated", facts_of(r, command)) + how_part(r);
  for (size_t i = 0; i < r.properties.size(); i++) body += section_of(r, r.properties[i], id_of(i));
  return html_document(title, body + "</main>\n", robustness_json(r));
}

}  // namespace fulmar::tools
