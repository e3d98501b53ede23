#include <algorithm>
#include <cmath>
#include <utility>

#include "tools/report/experiments.h"
#include "tools/report/html.h"
#include "tools/report/report.h"
#include "tools/run/base64.h"
#include "tools/run/results.h"
#include "tools/run/robustness.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

std::string title_of(const std::string& metric) {
  static constexpr std::pair<const char*, const char*> titles[] = {
      {"macro_f1", "macro F1"},   {"weighted_f1", "weighted F1"},
      {"miou", "mean IoU"},       {"r2", "R2"},
      {"rmse", "RMSE"},           {"f1", "F1"},
      {"roc_auc", "ROC area"},    {"pr_auc", "PR area"},
      {"combined_score", "score"}};
  for (const auto& [name, title] : titles)
    if (metric == name) return title;
  return metric;
}

std::string seeds_text(const Comparison& c) {
  return "mean ± standard deviation over " +
         counted(std::ssize(c.lines.front().runs), "seed", "seeds");
}

HtmlTable score_table(const Comparison& c, const std::string& task,
                      const std::vector<std::string>& metrics) {
  HtmlTable table;
  const bool combined = metrics.front() == "combined_score";
  table.caption = (combined       ? "Combined score of the AutoICE challenge"
                   : task.empty() ? "Scores"
                                  : task) +
                  ", " + seeds_text(c);
  table.columns = {"training"};
  for (const std::string& metric : metrics) table.columns.push_back(title_of(metric));
  for (const Comparison::Line& line : c.lines) {
    std::vector<std::string> row{line.training.name};
    for (const std::string& metric : metrics)
      row.push_back(spread_text(line.score(task, metric), combined ? 3 : 4));
    table.rows.push_back(std::move(row));
  }
  return table;
}

HtmlTable field_table(const Comparison& c) {
  HtmlTable table;
  table.caption = "Effective receptive fields, pixels a side, " + seeds_text(c);
  table.columns = {"training",   "task",       "half of the gradient",
                   "90 % of it", "Luo et al.", "possible"};
  table.text_columns = {1};
  for (const Comparison::Line& line : c.lines)
    for (const ComparedField& field : line.runs.front().fields)
      table.rows.push_back({line.training.name, field.task,
                            spread_text(line.field(field.task, &ComparedField::half), 1),
                            spread_text(line.field(field.task, &ComparedField::most), 1),
                            spread_text(line.field(field.task, &ComparedField::effective), 1),
                            field.possible > 0 ? with_separators(field.possible) : "all"});
  return table;
}

HtmlTable option_table(const Comparison& c) {
  HtmlTable table;
  table.caption = "Trainings";
  table.columns = {"training"};
  for (size_t i = 0; i < c.axes.size(); i++) {
    table.columns.push_back(c.axes[i]);
    table.text_columns.push_back(i + 1);
  }
  table.columns.insert(table.columns.end(), {"epochs", "seconds"});
  for (const Comparison::Line& line : c.lines) {
    std::vector<std::string> row{line.training.name};
    row.insert(row.end(), line.training.values.begin(), line.training.values.end());
    std::string epochs;
    for (const ComparedRun& run : line.runs)
      epochs += (epochs.empty() ? "" : ", ") + with_separators(run.length.epochs);
    const Spread seconds = line.seconds();
    row.insert(row.end(), {epochs, spread_text(seconds, seconds.mean < 10 ? 1 : 0)});
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string figure_html(const ComparedFigure& figure, const std::string& row) {
  std::string text = "<figure>";
  const auto image = [&](const std::string& png, const std::string& alt, const char* more) {
    return "<img src=\"data:image/png;base64," + base64(png) + "\" width=\"" +
           std::to_string(figure.width) + "\" height=\"" + std::to_string(figure.height) +
           "\" alt=\"" + escaped(alt) + "\"" + more + ">";
  };
  if (!figure.png.empty())
    text += "<div class=\"picture\">" + image(figure.png, row + ": " + figure.title, "") +
            (figure.heat_png.empty() ? "" : image(figure.heat_png, "", " class=\"heat\"")) +
            "</div>\n";
  return text + "<figcaption>" + element("strong", figure.title) +
         (figure.note.empty() ? "" : "<br>" + escaped(figure.note)) + "</figcaption></figure>\n";
}

std::string rows_section(const std::string& id, const std::string& heading,
                         const std::string& words, const std::vector<ComparedRow>& rows) {
  if (rows.empty()) return "";
  std::string text = "<section id=\"" + id + "\">\n" + element("h2", heading) +
                     element("p", words, "class=\"quiet\"");
  for (const ComparedRow& row : rows) {
    text += element("h3", row.title) +
            "<div class=\"mistakes\" style=\"grid-template-columns:repeat(auto-fill,"
            "minmax(min(100%,14rem),1fr))\">\n";
    for (const ComparedFigure& figure : row.figures) text += figure_html(figure, row.title);
    text += "</div>\n";
  }
  return text + "</section>\n";
}

}  // namespace

std::vector<HtmlTable> comparison_tables(const Comparison& c) {
  std::vector<HtmlTable> tables;
  for (const auto& [task, metrics] : c.metrics()) tables.push_back(score_table(c, task, metrics));
  HtmlTable fields = field_table(c);
  if (!fields.rows.empty()) tables.push_back(std::move(fields));
  return tables;
}

std::string comparison_html(const Comparison& c, const std::string& command) {
  const std::string title = "Trainings on " + last_part(c.folder);
  const std::string seed = std::to_string(c.lines.front().runs.front().seed);
  std::string body = "<header>\n" +
                     element("p", pictures_line(c.generated, std::ssize(c.tested), c.folder),
                             c.generated ? "class=\"warning\"" : "class=\"quiet\"") +
                     element("h1", title) + "</header>\n<main>\n" + option_table(c).to_string();
  for (const HtmlTable& table : comparison_tables(c)) body += table.to_string();
  body += element("p",
                  "All are tested on the same pictures, so that seeds, not pictures, make the "
                  "standard deviations. Seconds are of training, on a machine that may have done "
                  "other work.",
                  "class=\"quiet\"");
  body += rows_section("maps", "Maps side by side",
                       "Of the test pictures that the trainings differ most about, by the models "
                       "of seed " +
                           seed + ".",
                       c.maps);
  body += rows_section("cams", "Grad-CAMs side by side",
                       "What speaks for the class that is named: where one points, the picture "
                       "without it. Of the models of seed " +
                           seed + "; each map has a scale of its own.",
                       c.cams);
  body += rows_section("fields", "How far the middle pixel sees",
                       "The gradient of the logit that the middle pixel is called by, by the "
                       "input, of seed " +
                           seed +
                           ": the line is the square that holds 90 % of it; colours go with its "
                           "root.",
                       c.fields);
  body += fact_table("How it was made", {{"Command", command}}) + "</main>\n";
  return html_document(title, body, comparison_json(c));
}

}  // namespace fulmar::tools
