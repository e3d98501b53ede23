#include <cmath>
#include <utility>

#include "tools/report/html.h"
#include "tools/report/report.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/run/training_words.h"

namespace fulmar::tools {
namespace {

std::string id_of(size_t evaluation) { return "evaluation-" + std::to_string(evaluation + 1); }

std::string pixel_id_of(size_t evaluation) { return "pixels-" + std::to_string(evaluation + 1); }

std::string tiles(const Evaluation& e) {
  const auto [scores, calibration] = measure(e);
  Facts facts;
  if (e.two_classes()) facts.emplace_back("F1 of " + e.positive(), score_text(scores.f1));
  facts.emplace_back("Accuracy", score_text(scores.accuracy));
  if (!e.two_classes()) facts.emplace_back("Macro F1", score_text(scores.macro.f1));
  facts.emplace_back("Area under ROC", score_text(scores.roc_auc));
  facts.emplace_back("Average precision", score_text(scores.pr_auc));
  if (e.two_classes()) {
    facts.emplace_back("Missed", with_separators(scores.false_negatives));
    facts.emplace_back("False alarms", with_separators(scores.false_positives));
  } else {
    facts.emplace_back("Wrong", with_separators(e.wrong()));
  }
  facts.emplace_back("Calibration error", score_text(calibration.ece));
  std::string text = "<ul class=\"tiles\">\n";
  for (const auto& [name, value] : facts)
    text += "<li>" + element("span", name) + " " + element("strong", value) + "</li>\n";
  return text + "</ul>\n";
}

// One sentence on the training.
std::string abstract_of(const Report::Training& t) {
  const Json& sessions = t.record.is_object() ? t.record.at("sessions") : Json::array();
  const size_t epochs = t.metrics.rows.size();
  std::string text = std::to_string(epochs) + (epochs == 1 ? " epoch" : " epochs") + " of training";
  double seconds = 0;
  for (size_t c = 0; c < t.metrics.columns.size(); c++)
    for (const std::vector<double>& row : t.metrics.rows)
      if (t.metrics.columns[c] == "seconds") seconds += row[c];
  if (epochs > 0) text += " in " + readable_seconds(seconds);
  if (t.best_epoch > 0) text += ", the best is epoch " + std::to_string(t.best_epoch);
  const Json ended = sessions.empty() ? Json() : sessions.back().at("ended");
  if (ended.is_string() && ended != "finished") text += "; " + ended.get<std::string>();
  if (!sessions.empty() && ended.is_null()) text += "; still going on, or ended from outside";
  return text + ".";
}

std::string contents(const Report& report) {
  std::string text = "<nav aria-label=\"Contents\"><ul>\n";
  const auto add = [&](const std::string& id, const std::string& name) {
    text += "<li><a href=\"#" + id + "\">" + escaped(name) + "</a></li>\n";
  };
  for (size_t i = 0; i < report.evaluations.size(); i++)
    add(id_of(i), set_name(report.evaluations[i].evaluation));
  for (size_t i = 0; i < report.pixels.size(); i++)
    add(pixel_id_of(i), pixel_set_name(report.pixels[i]));
  if (report.training) {
    add("training", "Training");
    add("data", "Data");
    add("making", "How it was made");
  }
  return text + "</ul></nav>\n";
}

std::string top(const Report& report) {
  std::string text = "<header>\n" + element("h1", report.name);
  if (report.training) text += element("p", abstract_of(*report.training), "class=\"quiet\"");
  text += contents(report) + "</header>\n<main>\n";
  const std::vector<std::string> words = training_words(report);
  for (const std::string& word : words) text += element("p", word, "class=\"warning\"") + "\n";
  if (report.evaluations.empty() && !report.pixels.empty()) return text;
  if (report.evaluations.empty())
    return text + element("p",
                          "No evaluation yet: no pictures were held out of training, or it did "
                          "not come to its end. ‘fulmar eval MODEL DIR --report’ adds one.");
  const Evaluation& first = report.evaluations.front().evaluation;
  return text +
         element("p",
                 set_name(first) + ", " + with_separators(first.predictions.size()) + " pictures",
                 "class=\"plot-title\"") +
         tiles(first);
}

}  // namespace

std::string set_name(const Evaluation& e) {
  if (e.set == "validation") return "Validation";
  if (e.set == "test") return "Test";
  return "Evaluation on " + last_part(e.folder);
}

std::string report_html(const Report& report) {
  std::string body = top(report);
  for (size_t i = 0; i < report.evaluations.size(); i++)
    body += evaluation_section(report.evaluations[i], id_of(i));
  for (size_t i = 0; i < report.pixels.size(); i++)
    body += pixel_section(report.pixels[i], pixel_id_of(i));
  if (report.training) {
    body += training_section(*report.training);
    body += data_section(report.training->record.is_object() ? report.training->record.at("data")
                                                             : Json());
    body += making_section(*report.training);
  }
  return html_document(report.name, body + "</main>\n", report_numbers(report));
}

}  // namespace fulmar::tools
