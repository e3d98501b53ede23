#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "model/curves.h"
#include "tools/report/html.h"
#include "tools/report/report.h"
#include "tools/report/svg_plot.h"
#include "tools/run/base64.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

using model::Curve;

std::string percent(double share) {
  return std::isfinite(share) ? fixed(100 * share, 1) + " %" : "–";
}
std::string css_percent(double share) { return fixed(100 * share, 2) + "%"; }

std::vector<PlotPoint> points_of(const Curve& curve) {
  std::vector<PlotPoint> points;
  for (const model::CurvePoint& p : curve) points.push_back({p.x, p.y});
  return points;
}

std::string notes(const Report::Part& part) {
  const Evaluation& e = part.evaluation;
  std::string text;
  if (e.set == "validation")
    text += element(
        "p", e.two_classes()
                 ? "Pictures held out of training. They chose the best epoch and the "
                   "threshold, so the numbers here are a little better than on new pictures."
                 : "Pictures held out of training. They chose the best epoch, so the numbers "
                   "here are a little better than on new pictures.");
  if (e.set == "test")
    text += element("p",
                    "Pictures held out of training (--test), on which nothing was chosen: the "
                    "numbers here are what to expect on new pictures of the same kind.");
  if (part.outdated)
    text += element("p",
                    "The model file has changed since: these numbers are of an earlier model. "
                    "Repeat the evaluation with fulmar eval --report.",
                    "class=\"warning\"");
  return text;
}

// ---- confusion

std::string confusion_cell(int64_t count, int64_t support, bool right, bool with_share) {
  const double share =
      support > 0 ? static_cast<double>(count) / static_cast<double>(support) : 0.0;
  const std::string kind = count == 0 ? "none" : right ? "right" : "wrong";
  std::string cell = "<td class=\"" + kind + "\"";
  if (count > 0) cell += " style=\"--share:" + fixed(share, 3) + "\"";
  cell += ">" + with_separators(count);
  if (with_share && support > 0) cell += element("small", percent(share));
  return cell + "</td>";
}

std::vector<ConfusionRow> confusion_rows(const Evaluation& e, const model::Scores& scores) {
  std::vector<ConfusionRow> rows;
  const auto count = static_cast<std::ptrdiff_t>(e.classes.size());
  for (std::ptrdiff_t truth = 0; truth < count; truth++) {
    const auto first = scores.confusion.begin() + truth * count;
    rows.push_back({e.classes[static_cast<size_t>(truth)], {first, first + count}});
  }
  return rows;
}

std::string class_table(const Evaluation& e, const model::Scores& scores) {
  HtmlTable table;
  table.caption = "By class";
  table.columns = {"class", "precision", "recall", "F1", "ROC", "PR", "pictures"};
  for (size_t k = 0; k < e.classes.size(); k++) {
    const model::ClassScores& s = scores.classes[k];
    table.rows.push_back({e.classes[k], score_text(s.precision), score_text(s.recall),
                          score_text(s.f1), score_text(s.roc_auc), score_text(s.pr_auc),
                          with_separators(s.support)});
  }
  const auto add = [&](const std::string& name, const model::Averages& a) {
    table.rows.push_back({name, score_text(a.precision), score_text(a.recall), score_text(a.f1), "",
                          "", with_separators(scores.samples)});
  };
  add("macro mean", scores.macro);
  add("weighted mean", scores.weighted);
  return table.to_string();
}

// ---- curves

// Of each class against the rest and their mean; of two classes of the positive one alone.
struct Curves {
  std::vector<std::pair<std::string, Curve>> classes;
  Curve shown;          // the one that the number is of
  int64_t lowest = -1;  // of several: the class with the smallest area
};

template <class CurveOf>
Curves curves_of(const Evaluation& e, const CurveOf& curve_of) {
  Curves curves;
  std::vector<Curve> all;
  for (int64_t k = 0; k < e.predictions.classes; k++) {
    if (e.two_classes() && k != e.positive_class) continue;
    all.push_back(curve_of(e.predictions.scores_of(k), e.predictions.truth_of(k)));
    curves.classes.emplace_back(e.classes[static_cast<size_t>(k)], all.back());
  }
  curves.shown = e.two_classes() ? all[0] : model::mean_curve(all);
  double least = INFINITY;
  for (size_t k = 0; k < all.size() && !e.two_classes(); k++) {
    const double area = model::area_under(all[k]);
    if (all[k].empty() || area >= least) continue;
    least = area;
    curves.lowest = static_cast<int64_t>(k);
  }
  return curves;
}

// A plot of rates, both from 0 to 1.
Plot curve_plot(const Evaluation& e, const Curves& curves) {
  Plot plot;
  plot.height = 300;
  for (size_t k = 0; k < curves.classes.size() && !e.two_classes(); k++) {
    const auto& [name, curve] = curves.classes[k];
    const bool lowest = static_cast<int64_t>(k) == curves.lowest;
    plot.series.push_back({lowest ? "b" : "faint", "", points_of(curve), {}, name});
  }
  plot.series.push_back(
      {"a", "", points_of(curves.shown), {}, e.two_classes() ? e.positive() : "mean"});
  return plot;
}

std::string whose(const Evaluation& e) {
  return e.two_classes() ? "of " + e.positive() : "mean over the classes, each against the rest";
}

// What the lines are, behind the caption.
std::string lines_of(const Evaluation& e, const Curves& curves) {
  if (e.two_classes()) return " Ring: the threshold.";
  const std::string lowest =
      curves.lowest < 0
          ? ""
          : "; dashed orange: " + curves.classes[static_cast<size_t>(curves.lowest)].first +
                ", the one with the smallest area";
  return escaped(" Blue: the mean; grey: the classes" + lowest + ".");
}

std::string roc_figure(const Evaluation& e, const model::Scores& scores) {
  const Curves curves = curves_of(e, model::roc_curve);
  if (curves.shown.empty())
    return "<figure>" + element("p", "ROC curve", "class=\"plot-title\"") +
           element("p", "Undefined here: it needs pictures of the class and of another one.") +
           "</figure>\n";
  Plot plot = curve_plot(e, curves);
  const std::string area = score_text(scores.roc_auc);
  plot.title = "ROC curve: area " + area;
  plot.x.title = "false positive rate";
  plot.y.title = "true positive rate";
  plot.diagonal = true;
  plot.description = "Receiver operating characteristic, " + whose(e) + ": area " + area + ".";
  std::string caption =
      "Share of the class that is found, over the share of the others that are called so, " +
      escaped(whose(e)) + ". Dotted: chance.";
  if (e.two_classes()) {
    const model::ClassScores& own = scores.classes[static_cast<size_t>(e.positive_class)];
    const int64_t negatives = scores.samples - own.support;
    const double alarms =
        static_cast<double>(scores.false_positives) / static_cast<double>(negatives);
    plot.marks.push_back({alarms, own.recall, "threshold " + score_text(e.threshold), true});
    plot.description += " At the threshold of " + score_text(e.threshold) +
                        ": false positive rate " + score_text(alarms) + ", true positive rate " +
                        score_text(own.recall) + ".";
  }
  return plot_figure(plot, caption + lines_of(e, curves));
}

std::string pr_figure(const Evaluation& e, const model::Scores& scores) {
  const Curves curves = curves_of(e, model::precision_recall_curve);
  if (curves.shown.empty())
    return "<figure>" + element("p", "Precision-recall curve", "class=\"plot-title\"") +
           element("p", "Undefined here: it needs pictures of the class.") + "</figure>\n";
  Plot plot = curve_plot(e, curves);
  const std::string area = score_text(scores.pr_auc);
  plot.title = "Precision-recall: average precision " + area;
  plot.x.title = "recall";
  plot.y.title = "precision";
  plot.description = "Precision over recall, " + whose(e) + ": average precision " + area + ".";
  std::string caption =
      "Share of what is called the class that is of it, over the share of it that "
      "is found, " +
      escaped(whose(e)) + ".";
  if (e.two_classes()) {
    const model::ClassScores& own = scores.classes[static_cast<size_t>(e.positive_class)];
    if (own.predicted > 0)
      plot.marks.push_back(
          {own.recall, own.precision, "threshold " + score_text(e.threshold), true});
    plot.description += " At the threshold of " + score_text(e.threshold) + ": recall " +
                        score_text(own.recall) + ", precision " + score_text(own.precision) + ".";
  }
  return plot_figure(plot, caption + lines_of(e, curves));
}

// ---- calibration

std::string calibration_part(const Evaluation& e, const model::Calibration& c) {
  if (c.bins.empty() || e.predictions.size() == 0)
    return element("p", "Undefined: some probabilities are not numbers, or there are none.");
  Plot reliability, counts;
  const std::string what =
      e.two_classes() ? "Probability of " + e.positive() : "Highest probability";
  reliability.title = "Reliability";
  reliability.description = what + ", in ten bins, and how often it came true:";
  counts.description = "Pictures by " + what + ":";
  PlotSeries series{"a", "", {}, {}, {}};
  HtmlTable table;
  table.caption = what + ", mean and how often it came true, by bin";
  table.columns = {"from", "to", "pictures", "mean", "came true"};
  int64_t most = 1;
  for (const model::ReliabilityBin& bin : c.bins) most = std::max(most, bin.count);
  for (const model::ReliabilityBin& bin : c.bins) {
    const std::string from = fixed(bin.low, 1), to = fixed(bin.high, 1);
    table.rows.push_back({from, to, with_separators(bin.count), score_text(bin.probability),
                          score_text(bin.frequency)});
    counts.bars.push_back({bin.low, bin.high, static_cast<double>(bin.count),
                           bin.count > 0 ? with_separators(bin.count) : "0"});
    counts.description += " " + from + " to " + to + ": " + with_separators(bin.count) + ".";
    if (bin.count == 0) continue;
    series.points.push_back({bin.probability, bin.frequency});
    const double share = static_cast<double>(bin.count) / static_cast<double>(most);
    series.dots.push_back(2 + 5 * std::sqrt(share));
    reliability.description +=
        " " + score_text(bin.probability) + " came true in " + percent(bin.frequency) + ".";
  }
  reliability.series.push_back(std::move(series));
  reliability.diagonal = true;
  reliability.height = 300;
  reliability.y.title = "came true";
  reliability.x.title = what;
  counts.title = "Pictures by bin";
  counts.height = 150;
  counts.y = {"pictures", 0, static_cast<double>(most) * 1.15, false, true, true};
  counts.x.title = what;
  return "<div class=\"columns\">\n" +
         plot_figure(
             reliability,
             "Dots on the dotted line: what is called 80 % probable is true in 80 % "
             "of the cases. A dot is the larger the more pictures its bin has; small ones are "
             "uncertain.") +
         "<div>\n" + plot_figure(counts, "Pictures in each of the ten bins.") +
         fact_table("Calibration in two numbers",
                    {{"Expected calibration error", score_text(c.ece)},
                     {"Brier score", score_text(c.brier)}}) +
         "</div>\n</div>\n<details><summary>Numbers by bin</summary>\n" + table.to_string() +
         "</details>\n";
}

// ---- mistakes

std::string mistakes_of(const Evaluation& e, const std::string& heading, int64_t all,
                        bool any_truth, bool positive_truth) {
  std::string figures;
  int64_t shown = 0;
  for (const Mistake& m : e.mistakes) {
    const bool positive = e.predictions.labels[static_cast<size_t>(m.sample)] == e.positive_class;
    if (!any_truth && positive != positive_truth) continue;
    figures += picture_figure(e, m);
    shown++;
  }
  const std::string some = ", the worst " + std::to_string(shown);
  const std::string text =
      element("h3", heading + ": " + with_separators(all) + (shown < all && shown > 0 ? some : ""));
  if (shown == 0) return text + element("p", all == 0 ? "None." : "No pictures were kept of them.");
  return text + "<div class=\"mistakes\">\n" + figures + "</div>\n";
}

std::string mistakes_part(const Evaluation& e, const model::Scores& scores) {
  const bool framed = std::any_of(e.mistakes.begin(), e.mistakes.end(), [](const Mistake& m) {
    return m.side_x < 0.995 || m.side_y < 0.995;
  });
  const bool explained = std::any_of(e.mistakes.begin(), e.mistakes.end(),
                                     [](const Mistake& m) { return !m.cam_png.empty(); });
  std::string text;
  if (e.two_classes()) {
    text += mistakes_of(e, "Missed " + e.positive(), scores.false_negatives, false, true);
    text += mistakes_of(e, "False alarms, called " + e.positive(), scores.false_positives, false,
                        false);
  } else {
    text += mistakes_of(e, "Wrong", e.wrong(), true, false);
  }
  if (!e.mistakes.empty())
    text += element("p",
                    std::string("Sorted by the probability that the model gave to what the picture "
                                "is.") +
                        (framed ? " Dashed: what the network sees." : "") +
                        (explained ? " Colours: what speaks for the class that it was called "
                                     "(Grad-CAM); they go where one points."
                                   : ""),
                    "class=\"quiet\"");
  return text;
}

Facts facts_of(const Evaluation& e, const model::Scores& scores) {
  Facts facts{{"Pictures", with_separators(scores.samples) + " of " + e.folder}};
  facts.emplace_back("Model", e.model);
  if (e.two_classes())
    facts.emplace_back("Threshold", score_text(e.threshold) + ": called " + e.positive() +
                                        " where its probability is no less");
  facts.emplace_back("Cross-entropy", score_text(scores.loss));
  if (!e.command.empty()) facts.emplace_back("Command", e.command);
  if (!e.time.empty()) facts.emplace_back("Time", e.time);
  return facts;
}

}  // namespace

std::string score_text(double value) { return std::isfinite(value) ? fixed(value, 4) : "–"; }

std::string confusion_table(const std::vector<ConfusionRow>& rows) {
  const bool many = rows.size() > 4;
  std::string text = "<table class=\"confusion" + std::string(many ? " many" : "") +
                     "\">\n<caption>Rows: true class. Columns: called "
                     "so.</caption>\n<thead><tr><th scope=\"col\">true \\ called</th>";
  for (const ConfusionRow& row : rows)
    text += "<th scope=\"col\">" + element("span", row.name) + "</th>";
  text += "</tr></thead>\n<tbody>\n";
  for (size_t truth = 0; truth < rows.size(); truth++) {
    const std::vector<int64_t>& called = rows[truth].called;
    const int64_t support = std::accumulate(called.begin(), called.end(), int64_t{0});
    text += "<tr>" + element("th", rows[truth].name, "scope=\"row\"");
    for (size_t k = 0; k < called.size(); k++)
      text += confusion_cell(called[k], support, truth == k, !many);
    text += "</tr>\n";
  }
  return scrolling("Confusion matrix", text + "</tbody></table>\n");
}

std::string picture_figure(const Evaluation& e, const Mistake& m, const std::string& more) {
  const auto at = static_cast<size_t>(m.sample);
  const int64_t truth = e.predictions.labels[at], called = e.decision(m.sample);
  const std::string &true_name = e.classes[static_cast<size_t>(truth)],
                    &called_name = e.classes[static_cast<size_t>(called)];
  const std::string own = score_text(static_cast<double>(e.probability(m.sample, truth)));
  const std::string its = score_text(static_cast<double>(e.probability(m.sample, called)));
  std::string seen;
  if (m.side_x < 0.995 || m.side_y < 0.995)
    seen = "<span style=\"left:" + css_percent(m.left) + ";top:" + css_percent(m.top) +
           ";width:" + css_percent(m.side_x) + ";height:" + css_percent(m.side_y) +
           "\">&nbsp;</span>";
  const auto image = [&](const std::string& png, const std::string& alt) {
    return "<img src=\"data:image/png;base64," + base64(png) + "\" width=\"" +
           std::to_string(m.width) + "\" height=\"" + std::to_string(m.height) + "\" alt=\"" +
           escaped(alt) + "\"";
  };
  const std::string cam = m.cam_png.empty() ? "" : image(m.cam_png, "") + " class=\"heat\">";
  return "<figure><div class=\"picture\">" +
         image(m.png, e.files[at] + ": is " + true_name + ", called " + called_name) + ">" + cam +
         seen + "</div>\n<figcaption><strong>" + escaped(true_name) + "</strong> " + own +
         "<br>called <strong>" + escaped(called_name) + "</strong> " + its + "<br>" +
         escaped(e.files[at]) + (more.empty() ? "" : "<br>" + escaped(more)) +
         "</figcaption></figure>\n";
}

std::string evaluation_section(const Report::Part& part, const std::string& id) {
  const Evaluation& e = part.evaluation;
  const auto [scores, calibration] = measure(e);
  std::string text = "<section id=\"" + escaped(id) + "\">\n" + element("h2", set_name(e)) +
                     notes(part) + fact_table("What was evaluated", facts_of(e, scores));
  text += "<h3>Confusion matrix</h3>\n<div class=\"tables\">\n" +
          confusion_table(confusion_rows(e, scores)) + class_table(e, scores) + "</div>\n" +
          element("p",
                  "Blue: right, orange: wrong; the stronger, the larger the share of its row. ROC, "
                  "PR: areas under the curves of the class against the rest.",
                  "class=\"quiet\"");
  text += "<h3>At any threshold</h3>\n<div class=\"columns\">\n" + roc_figure(e, scores) +
          pr_figure(e, scores) + "</div>\n";
  text += "<h3>Calibration</h3>\n" + calibration_part(e, calibration);
  return text + mistakes_part(e, scores) + "</section>\n";
}

}  // namespace fulmar::tools
