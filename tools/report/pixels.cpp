#include <cmath>

#include "tools/report/html.h"
#include "tools/report/report.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

double number_of(const Json& json, const char* name) {
  return json.contains(name) && json.at(name).is_number() ? json.at(name).get<double>() : NAN;
}
std::string score_of(const Json& json, const char* name) {
  return score_text(number_of(json, name));
}
std::string count_of(const Json& json, const char* name) {
  return json.contains(name) && json.at(name).is_number()
             ? with_separators(static_cast<int64_t>(json.at(name).get<double>()))
             : "";
}

std::string class_table(const Json& task) {
  HtmlTable table;
  table.caption = "By class";
  table.columns = {"class", "precision", "recall", "F1", "IoU", "pixels"};
  for (const auto& [name, scores] : task.at("classes").items())
    table.rows.push_back({name, score_of(scores, "precision"), score_of(scores, "recall"),
                          score_of(scores, "f1"), score_of(scores, "iou"),
                          count_of(scores, "pixels")});
  table.rows.push_back({"macro mean", "", "", score_of(task, "macro_f1"), score_of(task, "miou"),
                        count_of(task, "pixels")});
  table.rows.push_back({"weighted mean", "", "", score_of(task, "weighted_f1"), "", ""});
  return table.to_string();
}

std::string confusion(const Json& task) {
  std::vector<ConfusionRow> rows;
  const Json& counts = task.at("confusion");
  size_t at = 0;
  for (const auto& [name, scores] : task.at("classes").items())
    rows.push_back({name, counts.at(at++).get<std::vector<int64_t>>()});
  return confusion_table(rows);
}

std::string scene_table(const Json& scenes, const std::string& task) {
  HtmlTable table;
  table.caption = "By picture";
  table.columns = {"picture", "accuracy", "macro F1", "weighted F1", "mean IoU", "R2", "pixels"};
  for (const Json& scene : scenes) {
    const Json& scores = scene.at("tasks").at(task);
    table.rows.push_back({scene.at("picture").get<std::string>(), score_of(scores, "accuracy"),
                          score_of(scores, "macro_f1"), score_of(scores, "weighted_f1"),
                          score_of(scores, "miou"), score_of(scores, "r2"),
                          count_of(scores, "pixels")});
  }
  return table.to_string();
}

std::string month_table(const Json& months) {
  HtmlTable table;
  table.caption = "By month of the pictures' names";
  table.columns = {"month",       "task",     "accuracy", "macro F1",
                   "weighted F1", "mean IoU", "R2",       "pixels"};
  table.text_columns = {1};
  for (const auto& [month, scores] : months.items())
    for (const auto& [task, of] : scores.at("tasks").items())
      table.rows.push_back({month, task, score_of(of, "accuracy"), score_of(of, "macro_f1"),
                            score_of(of, "weighted_f1"), score_of(of, "miou"), score_of(of, "r2"),
                            count_of(of, "pixels")});
  return table.to_string();
}

std::string legend(const Json& colours) {
  std::string text = "<p class=\"quiet\">";
  for (const auto& [name, colour] : colours.items())
    text += "<span style=\"background:" + escaped(colour.get<std::string>()) + "\">&emsp;</span> " +
            escaped(name) + " &nbsp; ";
  return text + "</p>\n";
}

std::string figures(const Json& evaluation, const std::string& task) {
  std::string text;
  for (const Json& figure : evaluation.at("figures")) {
    if (figure.at("task") != task) continue;
    const std::string name = figure.at("picture").get<std::string>();
    text += "<figure><div class=\"picture\"><img src=\"data:image/png;base64," +
            figure.at("png").get<std::string>() + "\" width=\"" +
            std::to_string(figure.at("width").get<int64_t>()) + "\" height=\"" +
            std::to_string(figure.at("height").get<int64_t>()) + "\" alt=\"" +
            escaped("scene, chart, map and differences of " + name) + "\"></div>\n" +
            element("figcaption", name) + "</figure>\n";
  }
  if (text.empty()) return "";
  return element("h4", "Maps beside charts, the worst pictures first") +
         element("p",
                 "From left to right: the picture, its labels, the model's map, and where they "
                 "differ (orange; grey where they agree, black without a label).",
                 "class=\"quiet\"") +
         legend(evaluation.at("colours").at(task)) + text;
}

}  // namespace

std::string pixel_set_name(const Json& evaluation) {
  if (!evaluation.contains("folder")) return "Test, by pixel";
  return "Pixels of " + last_part(evaluation.at("folder").get<std::string>());
}

std::string pixel_section(const Json& evaluation, const std::string& id) {
  std::string text = "<section id=\"" + id + "\">\n" + element("h2", pixel_set_name(evaluation));
  if (evaluation.value("outdated", false))
    text += element("p",
                    "The model file has changed since: these numbers are of an earlier model. "
                    "Repeat the evaluation with fulmar eval --report.",
                    "class=\"warning\"");
  Facts facts{{"Loss", score_of(evaluation, "loss")}};
  if (evaluation.contains("combined_score"))
    facts.emplace_back("Combined score of the AutoICE challenge",
                       rounded(number_of(evaluation, "combined_score"), 5));
  text += fact_table("All tasks", facts);
  if (evaluation.contains("months")) text += month_table(evaluation.at("months"));
  for (const auto& [name, task] : evaluation.at("tasks").items()) {
    text += element("h3", name) + "<div class=\"tables\">\n" + class_table(task) +
            fact_table("Of all pixels", {{"Accuracy", score_of(task, "accuracy")},
                                         {"R2 of the classes' places", score_of(task, "r2")},
                                         {"RMSE of the classes' places", score_of(task, "rmse")}}) +
            "</div>\n" + confusion(task);
    if (evaluation.contains("scenes"))
      text += scrolling("Scores by picture", scene_table(evaluation.at("scenes"), name));
    if (evaluation.contains("figures")) text += figures(evaluation, name);
  }
  return text + "</section>\n";
}

}  // namespace fulmar::tools
