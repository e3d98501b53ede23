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

std::string metres_text(const ResolutionLevel& level) { return number_text(level.metres) + " m"; }

const Evaluation& first_evaluation(const ResolutionStudy& study) {
  return study.levels.front().runs.front().evaluation;
}

std::string f1_name(const ResolutionStudy& study) {
  const Evaluation& e = first_evaluation(study);
  return e.two_classes() ? "F1 of " + e.positive() : "macro F1";
}

std::string seconds_text(const Spread& spread) {
  return spread_text(spread, spread.mean < 10 ? 1 : 0);
}

// A row for each training.
HtmlTable run_table(const ResolutionStudy& study) {
  HtmlTable table;
  table.caption = "Each training";
  table.columns = {"resolution", "seed",   "accuracy", f1_name(study),
                   "ROC area",   "epochs", "seconds"};
  for (const ResolutionLevel& level : study.levels)
    for (const ResolutionRun& run : level.runs) {
      const Measured measured = measure(run.evaluation);
      const double f1 =
          run.evaluation.two_classes() ? measured.scores.f1 : measured.scores.macro.f1;
      table.rows.push_back({metres_text(level), std::to_string(run.seed),
                            score_text(measured.scores.accuracy), score_text(f1),
                            score_text(measured.scores.roc_auc), with_separators(run.epochs),
                            fixed(run.seconds, 1)});
    }
  return table;
}

// A score over the size of a pixel: means with their standard deviations.
std::string curve_of(const ResolutionStudy& study, const std::string& score,
                     const std::string& metric) {
  Plot plot;
  plot.title = score + " by resolution";
  plot.description = plot.title + ":";
  std::vector<double> across, up;
  PlotSeries line{"a", "", {}, {}, score};
  for (const ResolutionLevel& level : study.levels) {
    const Spread spread = level.spread(metric);
    across.push_back(level.metres);
    up.push_back(spread.mean);
    line.points.push_back({level.metres, spread.mean});
    line.dots.push_back(std::isfinite(spread.mean) ? 3.5 : 0);
    plot.description += " " + metres_text(level) + ": " + spread_text(spread, 4) + ".";
    if (!std::isfinite(spread.deviation)) continue;
    const double low = spread.mean - spread.deviation, high = spread.mean + spread.deviation;
    up.insert(up.end(), {low, high});
    plot.series.push_back({"a", "", {{level.metres, low}, {level.metres, high}}, {}, score});
  }
  plot.series.push_back(std::move(line));
  plot.x = axis_for("metres of a pixel", across, false);
  plot.x.low = 0;      // so that twice the distance is twice the pixel
  plot.x.high *= 1.1;  // the last tick's number needs room
  plot.y = axis_for(score, up, false);
  return plot_figure(plot, escaped("Mean over the seeds; lines: ± one standard deviation."));
}

std::string examples_part(const ResolutionStudy& study) {
  const ResolutionLevel& finest = study.levels.front();
  if (finest.examples.empty()) return "";
  std::string text =
      "<section id=\"examples\">\n" + element("h2", "Examples") +
      element("p",
              "What the networks see of the scenes that the resolutions differ most about, or of "
              "the first ones. Probabilities are those of the first seed.",
              "class=\"quiet\"");
  text += "<div class=\"mistakes\" style=\"grid-template-columns:repeat(" +
          std::to_string(study.levels.size()) + ",minmax(0,16rem))\">\n";
  for (size_t i = 0; i < finest.examples.size(); i++)
    for (const ResolutionLevel& level : study.levels) {
      const int64_t sample = level.examples[i].sample;
      const auto right =
          std::count_if(level.runs.begin(), level.runs.end(),
                        [&](const ResolutionRun& run) { return run.evaluation.right(sample); });
      text += picture_figure(level.runs.front().evaluation, level.examples[i],
                             metres_text(level) + ": right in " + std::to_string(right) + " of " +
                                 counted(std::ssize(level.runs), "training", "trainings"));
    }
  return text + "</div>\n</section>\n";
}

Facts facts_of(const ResolutionStudy& study, const std::string& command) {
  const Json& c = study.config;
  std::string crops, seeds;
  for (const ResolutionLevel& level : study.levels)
    crops += (crops.empty() ? "" : ", ") + std::to_string(level.crop) + " at " + metres_text(level);
  for (const ResolutionRun& run : study.levels.front().runs)
    seeds += (seeds.empty() ? "" : ", ") + std::to_string(run.seed);
  Facts facts{{"Pictures", study.folder},
              {"Coarser pixels", "means over boxes of the pictures' values, as they are"},
              {"Crop, pixels", crops + ": the same area"},
              {"Network", study.rule},
              {"Seeds", seeds},
              {"Epochs", "at most " + c.value("epochs", Json()).dump() + ", batches of " +
                             c.value("batch", Json()).dump() + ", learning rate " +
                             c.value("learning_rate", Json()).dump()}};
  if (!command.empty()) facts.emplace_back("Command", command);
  return facts;
}

}  // namespace

std::string spread_text(const Spread& spread, int decimals) {
  if (!std::isfinite(spread.mean)) return "–";
  const std::string mean = fixed(spread.mean, decimals);
  return std::isfinite(spread.deviation) ? mean + " ± " + fixed(spread.deviation, decimals) : mean;
}

HtmlTable resolution_table(const ResolutionStudy& study) {
  HtmlTable table;
  const std::string seeds = counted(std::ssize(study.levels.front().runs), "seed", "seeds");
  table.caption = "Mean ± standard deviation over " + seeds;
  table.columns = {"resolution", "crop", "accuracy", f1_name(study), "ROC area", "seconds"};
  for (const ResolutionLevel& level : study.levels)
    table.rows.push_back(
        {metres_text(level), std::to_string(level.crop), spread_text(level.spread("accuracy"), 4),
         spread_text(level.spread("f1"), 4), spread_text(level.spread("roc_auc"), 4),
         seconds_text(level.spread("seconds"))});
  return table;
}

std::string resolution_html(const ResolutionStudy& study, const std::string& command) {
  const Evaluation& e = first_evaluation(study);
  std::string body =
      "<header>\n" +
      element("p", pictures_line(study.generated, e.predictions.size(), study.folder),
              study.generated ? "class=\"warning\"" : "class=\"quiet\"") +
      element("h1", "Resolutions of " + last_part(study.folder)) + "</header>\n<main>\n" +
      fact_table("What was compared", facts_of(study, command)) +
      resolution_table(study).to_string() + "<div class=\"columns\">\n" +
      curve_of(study, "Accuracy", "accuracy") + curve_of(study, f1_name(study), "f1") +
      curve_of(study, "ROC area", "roc_auc") + "</div>\n" +
      element("p",
              "Seconds are of training, summed over its epochs, on a machine that may have done "
              "other work. All resolutions are scored on the same test scenes, so that seeds, not "
              "scenes, make the standard deviations.",
              "class=\"quiet\"") +
      examples_part(study) + "<section id=\"runs\">\n" + element("h2", "Trainings") +
      run_table(study).to_string() + "</section>\n</main>\n";
  return html_document("Resolutions of " + last_part(study.folder), body, resolution_json(study));
}

}  // namespace fulmar::tools
