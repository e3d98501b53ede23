#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "tools/report/html.h"
#include "tools/report/report.h"
#include "tools/report/svg_plot.h"
#include "tools/run/audit_text.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

using Values = std::vector<double>;

// A column of metrics.csv; nothing where there is none.
std::optional<Values> column(const model::MetricsTable& table, const std::string& name) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), name);
  if (found == table.columns.end()) return std::nullopt;
  Values values;
  for (const Values& row : table.rows)
    values.push_back(row[static_cast<size_t>(found - table.columns.begin())]);
  return values;
}

std::vector<PlotPoint> by_epoch(const Values& values) {
  std::vector<PlotPoint> points;
  for (size_t i = 0; i < values.size(); i++)
    points.push_back({static_cast<double>(i + 1), values[i]});
  return points;
}

std::string number(double value) {
  if (!std::isfinite(value)) return "–";
  const bool whole = value == std::floor(value) && std::abs(value) < 1e12;
  if (whole) return with_separators(static_cast<int64_t>(value));
  return std::abs(value) < 1e-3 ? tick_text(value) : fixed(value, 4);
}

// "validation: 0.8123 in epoch 1, 0.1234 in the last".
std::string told(const std::string& label, const Values& values) {
  return " " + label + ": " + number(values.front()) + " in epoch 1, " + number(values.back()) +
         " in epoch " + std::to_string(values.size()) + ".";
}

struct Metric {
  const char *name, *title;
  bool may_be_logarithmic;
};

// One metric over the epochs, of training and of validation; empty where the run has neither.
std::string metric_figure(const Report::Training& t, const Metric& metric) {
  const std::optional<Values> train = column(t.metrics, metric.name);
  const std::optional<Values> held = column(t.metrics, std::string("val_") + metric.name);
  if (!train && !held) return "";
  Plot plot;
  plot.title = metric.title;
  plot.description = std::string(metric.title) + " by epoch.";
  Values all;
  const bool both = train && held;
  if (train) {
    plot.series.push_back({held ? "b" : "a", both ? "training" : "", by_epoch(*train)});
    plot.description += told("Training", *train);
    all = *train;
  }
  if (held) {
    plot.series.push_back({"a", both ? "validation" : "", by_epoch(*held)});
    plot.description += told("Validation", *held);
    all.insert(all.end(), held->begin(), held->end());
  }
  const auto epochs = static_cast<double>(t.metrics.rows.size());
  plot.x = {"epoch", epochs > 1 ? 1.0 : 0.0, epochs > 1 ? epochs : 2.0, false, true};
  plot.y = axis_for("", all, metric.may_be_logarithmic);
  if (plot.y.logarithmic) plot.title += ", log scale";
  plot.y.title.clear();
  if (t.best_epoch > 0)
    plot.rules.push_back(
        {static_cast<double>(t.best_epoch), 0, "best: epoch " + std::to_string(t.best_epoch)});
  return "<figure>" + element("p", plot.title, "class=\"plot-title\"") + svg(plot) + "</figure>\n";
}

std::string epochs_table(const Report::Training& t) {
  HtmlTable table;
  table.caption = "metrics.csv: every epoch";
  table.columns = t.metrics.columns;
  for (const Values& row : t.metrics.rows) {
    std::vector<std::string> cells;
    for (const double value : row) cells.push_back(number(value));
    table.rows.push_back(std::move(cells));
  }
  return "<details><summary>Numbers by epoch</summary>\n" + table.to_string() + "</details>\n";
}

// ---- data

std::string text_of(const Json& json) {
  if (json.is_string()) return json.get<std::string>();
  if (json.is_null()) return "–";
  if (json.is_array()) {
    std::string list;
    for (const Json& item : json) list += (list.empty() ? "" : ", ") + text_of(item);
    return list;
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A path within the dataset.
std::string short_path(const std::string& path, const std::string& folder) {
  return path.rfind(folder + "/", 0) == 0 ? path.substr(folder.size() + 1) : path;
}

// What kind of fault or note, and the first few of them.
struct Finding {
  std::string heading;
  std::vector<std::string> items;
};

std::vector<Finding> findings_of(const Json& check, const std::string& folder) {
  std::vector<Finding> findings;
  const Json listed = check.value("constant", Json::array());  // older records have none
  const std::set<std::string> constant(listed.begin(), listed.end());
  const auto add_groups = [&](const char* key, const std::string& heading) {
    Finding finding{heading, {}};
    for (const Json& group : check.at(key)) {
      if (constant.count(group.at(0)) > 0) continue;
      std::vector<std::string> names;
      for (const Json& path : group) names.push_back(short_path(path.get<std::string>(), folder));
      finding.items.push_back(first_names(names, " = "));
    }
    if (!finding.items.empty()) findings.push_back(std::move(finding));
  };
  add_groups("two_labels", "Equal pictures with two labels");
  add_groups("in_both_parts", "Equal pictures in two parts");
  Finding scenes{"Scenes in two parts", {}};
  for (const Json& scene : check.at("scenes_in_both_parts"))
    scenes.items.push_back(scene.at("scene").get<std::string>());
  if (!scenes.items.empty()) findings.push_back(std::move(scenes));
  add_groups("repeated", "Equal pictures of one class");
  const auto add_counts = [&](const char* key, const std::string& heading) {
    Finding finding{heading, {}};
    for (const Json& part : check.at("parts"))
      for (const auto& [name, c] : part.at("classes").items())
        if (const int64_t count = c.value(key, int64_t{0}); count > 0)
          finding.items.push_back(with_separators(count) + " of " + name + " in " +
                                  part.at("folder").get<std::string>());
    if (!finding.items.empty()) findings.push_back(std::move(finding));
  };
  add_counts("wholly_black", "Wholly black pictures");
  add_counts("constant", "Pictures that are constant but for noise (no data?)");
  Finding unreadable{"Unreadable", {}};
  for (const Json& one : check.at("unreadable")) unreadable.items.push_back(text_of(one["reason"]));
  if (!unreadable.items.empty()) findings.push_back(std::move(unreadable));
  const auto add_paths = [&](const char* key, const std::string& heading) {
    Finding finding{heading, {}};
    for (const Json& path : check.value(key, Json::array()))
      finding.items.push_back(short_path(path.get<std::string>(), folder));
    if (!finding.items.empty()) findings.push_back(std::move(finding));
  };
  add_paths("notes", "Notes");
  add_paths("stray", "Files left out: no pictures, or outside the class folders");
  add_paths("copies", "Copies or leavings of editors, file managers or downloads, left out");
  add_paths("made_by_training", "Runs or caches of trainings, left out");
  return findings;
}

std::string finding_list(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    const auto count = static_cast<int64_t>(finding.items.size());
    text += element("p", finding.heading) + "<ul>\n";
    for (size_t i = 0; i < std::min(shown_groups, finding.items.size()); i++)
      text += element("li", finding.items[i]) + "\n";
    if (finding.items.size() > shown_groups)
      text += element(
          "li", "and " + with_separators(count - static_cast<int64_t>(shown_groups)) + " more");
    text += "</ul>\n";
  }
  return text;
}

// Columns of one part of the data: a cell for each class, and one for all of them.
struct CountColumns {
  std::vector<std::string> pictures, scenes, black, missing;
  bool has_scenes = false, has_missing = false;  // else there is nothing to tell
};

CountColumns count_columns(const Json& classes, const Json& scene_counts) {
  CountColumns columns;
  int64_t pictures = 0, scenes = 0;
  double black = 0, missing = 0;
  const auto add = [&](int64_t count, int64_t of_scenes, double dark, double absent) {
    const double all = std::max(1.0, static_cast<double>(count));
    columns.pictures.push_back(with_separators(count));
    columns.scenes.push_back(with_separators(of_scenes));
    columns.black.push_back(fixed(100 * dark / all, 1) + " %");
    columns.missing.push_back(fixed(100 * absent / all, 1) + " %");
  };
  size_t k = 0;
  for (const auto& [name, c] : classes.items()) {
    const int64_t count = c.at("pictures"), of_scenes = scene_counts.at(k++);
    const double dark = c.at("black_fraction").get<double>() * static_cast<double>(count);
    const double absent = c.value("missing_fraction", 0.0) * static_cast<double>(count);
    add(count, of_scenes, dark, absent);
    pictures += count;
    scenes += of_scenes;
    black += dark;
    missing += absent;
    columns.has_scenes |= of_scenes != count;
  }
  add(pictures, scenes, black, missing);
  columns.has_missing = missing > 0;
  return columns;
}

// Pictures, scenes, black and missing pixels: a row for each class, columns for each part.
HtmlTable counts_table(const Json& data) {
  const Json &parts = data.at("check").at("parts"), &scenes = data.at("scenes");
  HtmlTable table;
  table.caption = "Pictures of " + data.at("folder").get<std::string>();
  table.columns = {"class"};
  for (const auto& [name, ignored] : parts.at(0).at("classes").items())
    table.rows.push_back({name});
  table.rows.push_back({"all"});
  const auto add = [&](const std::string& title, const std::vector<std::string>& cells) {
    table.columns.push_back(title);
    for (size_t i = 0; i < cells.size(); i++) table.rows.at(i).push_back(cells[i]);
  };
  for (size_t p = 0; p < parts.size(); p++) {
    const CountColumns columns = count_columns(parts[p].at("classes"), scenes.at(p));
    add(parts[p].at("folder"), columns.pictures);
    if (columns.has_scenes) add("scenes", columns.scenes);
    add("black pixels", columns.black);
    if (columns.has_missing) add("missing", columns.missing);
  }
  return table;
}

}  // namespace

std::string training_section(const Report::Training& t) {
  std::string text = "<section id=\"training\">\n<h2>Training</h2>\n";
  if (t.metrics.rows.empty())
    return text + element("p", "No epoch has ended yet, so there are no curves.") + "</section>\n";
  const bool held = column(t.metrics, "val_loss").has_value();
  text += element(
      "p",
      held ? "Metrics of the training pictures are taken as they are trained on (augmented, with "
             "dropout, each before the step that it was in), so validation can be better."
           : "No pictures were held out (--validation): the curves are of the training pictures, "
             "as they are trained on, and say little about new ones.");
  text += "<div class=\"columns small\">\n";
  const bool two = column(t.metrics, "f1").has_value();
  const std::vector<Metric> metrics{{"loss", "Loss", true},
                                    {"accuracy", "Accuracy", false},
                                    {two ? "f1" : "macro_f1", two ? "F1" : "Macro F1", false},
                                    {"roc_auc", "Area under ROC", false},
                                    {"pr_auc", "Area under precision-recall", false},
                                    {"threshold", "Threshold", false},
                                    {"learning_rate", "Learning rate", false}};
  for (const Metric& metric : metrics) text += metric_figure(t, metric);
  return text + "</div>\n" + epochs_table(t) + "</section>\n";
}

std::string data_section(const Json& data) {
  std::string text = "<section id=\"data\">\n<h2>Data</h2>\n";
  if (data.is_null())
    return text + element("p", "Not looked at: that is done when a training has ended.") +
           "</section>\n";
  const std::string folder = data.at("folder");
  const Json& check = data.at("check");
  const HtmlTable counts = counts_table(data);
  HtmlTable sizes;
  sizes.caption = "Sizes";
  sizes.columns = {"pixels", "bands", "type", "pictures"};
  sizes.text_columns = {2};
  constexpr size_t shown = 8;
  const Json& formats = check.at("sizes");
  for (size_t i = 0; i < std::min(shown, formats.size()); i++)
    sizes.rows.push_back({text_of(formats[i]["width"]) + " × " + text_of(formats[i]["height"]),
                          text_of(formats[i]["bands"]), text_of(formats[i]["type"]),
                          with_separators(formats[i]["pictures"])});
  if (formats.size() > shown)
    sizes.rows.push_back({"and " + std::to_string(formats.size() - shown) + " more", "", "", ""});
  text += "<div class=\"tables\">\n" + counts.to_string() + sizes.to_string() + "</div>\n";
  const std::vector<Finding> findings = findings_of(check, folder);
  text += element("h3", "What was found");
  text += findings.empty() ? element("p",
                                     "Nothing: no equal pictures, no scene in both parts, no "
                                     "file left out.")
                           : finding_list(findings);
  return text +
         element("p",
                 "Training doesn’t look at a test part. ‘fulmar check DIR’ compares it with the "
                 "training part.",
                 "class=\"quiet\"") +
         "</section>\n";
}

std::string making_section(const Report::Training& t) {
  std::string text = "<section id=\"making\">\n<h2>How it was made</h2>\n";
  Facts facts;
  const Json sessions = t.record.is_object() ? t.record.at("sessions") : Json::array();
  for (const Json& session : sessions) {
    text += element("p",
                    text_of(session["time"]) + ", " +
                        (session["ended"].is_null() ? "still going on, or ended from outside"
                                                    : text_of(session["ended"])),
                    "class=\"quiet\"");
    text += "<pre>" + element("code", text_of(session["command"])) + "</pre>\n";
  }
  if (!sessions.empty()) {
    const Json& last = sessions.back();
    const Json& machine = last.at("machine");
    facts.emplace_back("Device", text_of(machine.at("device")) + ", " +
                                     text_of(machine.at("hardware")) + ", " +
                                     text_of(machine.at("precision")));
    facts.emplace_back("Processor", text_of(machine.at("processor")));
    facts.emplace_back("Instruction set", text_of(machine.at("instruction_set")));
    facts.emplace_back("Processors", text_of(machine.at("processors")) + ", " +
                                         text_of(machine.at("threads")) + " threads used");
    facts.emplace_back("Memory", readable_bytes(machine.at("memory_bytes").get<uint64_t>()));
  }
  facts.emplace_back("Fulmar", text_of(t.config.value("fulmar", Json("unknown"))) + ", commit " +
                                   text_of(t.config.value("commit", Json("unknown"))));
  facts.emplace_back("Seed", text_of(t.config.value("seed", Json())));
  if (const std::optional<Values> seconds = column(t.metrics, "seconds")) {
    double all = 0;
    for (const double s : *seconds) all += s;
    const std::string epochs = seconds->size() == 1 ? " epoch" : " epochs";
    facts.emplace_back("Time taken",
                       readable_seconds(all) + " for " + std::to_string(seconds->size()) + epochs);
  }
  text += fact_table("On what, and how long", facts);
  HtmlTable settings;
  settings.caption = "config.json: what decides the result";
  settings.columns = {"setting", "value"};
  settings.text_columns = {1};
  for (const auto& [key, value] : t.config.items())
    if (key != "fulmar" && key != "commit" && key != "device")
      settings.rows.push_back({key, text_of(value)});
  return text + settings.to_string() + "</section>\n";
}

}  // namespace fulmar::tools
