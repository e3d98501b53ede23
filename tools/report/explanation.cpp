#include "tools/report/explanation.h"

#include <algorithm>
#include <cmath>

#include "kernels/version.h"
#include "tools/report/html.h"
#include "tools/report/style.h"
#include "tools/report/svg_plot.h"
#include "tools/run/base64.h"
#include "tools/run/heat.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

constexpr const char* explanation_style = R"css(
.opacity { position: sticky; top: 0; z-index: 2; background: var(--page); border: 0;
  border-bottom: 1px solid var(--line); margin: 1rem 0; padding: .6rem 0; display: flex;
  flex-wrap: wrap; gap: .2rem .9rem; align-items: center; }
.opacity legend { float: left; padding: 0 .6rem 0 0; color: var(--quiet); }
.opacity label { cursor: pointer; padding: .15rem .1rem; }
.maps { display: grid; gap: 1.2rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.maps .picture { overflow: hidden; }
.maps .picture:hover .heat { opacity: .75; }
body:has(#opacity-0:checked) .heat { opacity: 0 !important; }
body:has(#opacity-25:checked) .heat { opacity: .25 !important; }
body:has(#opacity-50:checked) .heat { opacity: .5 !important; }
body:has(#opacity-100:checked) .heat { opacity: 1 !important; }
.scale { display: flex; gap: .6rem; align-items: center; font-size: .9rem; margin: .6rem 0; }
.scale svg { width: min(22rem, 45vw); height: 1.1rem; border-radius: .2rem; }
main > section:first-child > h2 { border: 0; margin-top: 0; padding-top: 0; }
.probabilities th, .probabilities td { padding-right: .5rem; }
.probabilities td:last-child { width: 40%; }
.probabilities meter { width: 100%; }
)css";

std::string data_uri(const std::string& png) { return "data:image/png;base64," + base64(png); }

std::string percent_of(double share) { return fixed(100 * share, 2) + "%"; }

// The colours from -1 to 1 over a checked ground as a picture has: grey.
std::string scale() {
  std::string stops;
  constexpr int count = 40;
  for (int i = 0; i < count; i++) {
    const HeatColour colour = heat_colour(2 * (i + 0.5) / count - 1);
    stops += "<rect x=\"" + std::to_string(i) + "\" width=\"1.02\" height=\"1\" fill=\"rgb(" +
             std::to_string(colour.rgb[0]) + "," + std::to_string(colour.rgb[1]) + "," +
             std::to_string(colour.rgb[2]) + ")\" fill-opacity=\"" + fixed(colour.cover, 2) +
             "\"/>";
  }
  return "<div class=\"scale\"><span>against it</span><svg viewBox=\"0 0 40 1\" "
         "preserveAspectRatio=\"none\" role=\"img\"><desc>Colours from blue, against the class, "
         "over "
         "none to red, for it</desc><rect width=\"40\" height=\"1\" fill=\"#777\"/>" +
         stops + "</svg><span>for it</span></div>\n";
}

std::string opacity() {
  std::string text = "<fieldset class=\"opacity\"><legend>Opacity of the maps</legend>";
  for (const int percent : {0, 25, 50, 75, 100}) {
    const std::string id = "opacity-" + std::to_string(percent);
    text += "<label><input type=\"radio\" name=\"opacity\" id=\"" + id + "\"" +
            (percent == 75 ? " checked" : "") + "> " + std::to_string(percent) + " %</label>";
  }
  return text + "</fieldset>\n";
}

std::string frame_of(const ExplainedPicture& p) {
  const auto w = static_cast<double>(p.header.width), h = static_cast<double>(p.header.height);
  if (p.seen.width() > 0.995 * w && p.seen.height() > 0.995 * h) return "";
  return "<span style=\"left:" + percent_of(p.seen.left / w) +
         ";top:" + percent_of(p.seen.top / h) + ";width:" + percent_of(p.seen.width() / w) +
         ";height:" + percent_of(p.seen.height() / h) + "\">&nbsp;</span>";
}

std::string image(const ExplainedPicture& p, const std::string& png, const std::string& alt,
                  const std::string& attributes = "") {
  return "<img src=\"" + data_uri(png) + "\" width=\"" + std::to_string(p.small_width) +
         "\" height=\"" + std::to_string(p.small_height) + "\" alt=\"" + escaped(alt) + "\"" +
         attributes + ">";
}

std::string map_figure(const ExplainedPicture& p, const ShownMap& map) {
  std::string text =
      "<figure><div class=\"picture\">" + image(p, p.png, "") +
      image(p, map.heat_png, std::string(map.method->name) + " of " + p.path, " class=\"heat\"") +
      frame_of(p) + "</div>\n<figcaption>" + element("strong", map.method->name) + ": " +
      escaped(map.method->summary);
  if (!map.layer.empty()) text += "<br>layer " + element("code", map.layer);
  text += "<br>strongest at column " + fixed(map.peak_x, 0) + ", row " + fixed(map.peak_y, 0);
  if (map.baseline_score)
    text += "<br>the map adds up to the score's rise from the baseline's, but for " +
            rounded(map.error.value_or(0), 2) + " (" +
            (std::isfinite(map.relative_error.value_or(0))
                 ? rounded(100 * map.relative_error.value_or(0), 2) + " %"
                 : std::string("undefined")) +
            ")";
  if (map.points_inside)
    text += *map.points_inside ? "<br>its strongest place lies in the mask"
                               : "<br>its strongest place lies outside the mask";
  if (map.mask_scores && std::isfinite(map.mask_scores->iou))
    text += "; IoU of the two masks " + fixed(map.mask_scores->iou, 2);
  return text + "</figcaption></figure>\n";
}

std::string probability_table(const ExplanationReport& report, const ExplainedPicture& p) {
  std::string text =
      "<table class=\"probabilities\"><caption>What the model says</caption>\n<thead><tr><th "
      "scope=\"col\">class</th><th scope=\"col\">" +
      std::string(p.region.empty() ? "probability" : "share of the pixels") +
      "</th><th scope=\"col\">" + (p.region.empty() ? "logit" : "mean logit of those explained") +
      "</th><th></th></tr></thead><tbody>\n";
  for (size_t k = 0; k < report.classes.size(); k++)
    text += "<tr>" + element("th", report.classes[k], "scope=\"row\"") +
            element("td", fixed(p.probabilities[k], 4)) + element("td", fixed(p.logits[k], 3)) +
            "<td><meter value=\"" + fixed(p.probabilities[k], 4) + "\">" +
            fixed(100 * p.probabilities[k], 1) + " %</meter></td></tr>\n";
  return text + "</tbody></table>\n";
}

Json json_of(const MapCheck& check, const ExplainedPicture& p) {
  const auto curve = [](const model::explain::ScoreCurve& c) {
    return Json{{"area", c.area()}, {"share", c.share}, {"score", c.score}};
  };
  Json json{{"deletion", curve(check.deletion)},
            {"insertion", curve(check.insertion)},
            {"random_deletion_area", p.random_deletion->area()},
            {"random_insertion_area", p.random_insertion->area()},
            {"infidelity", check.infidelity},
            {"sensitivity", check.sensitivity}};
  for (const auto& [layer, correlation] : check.randomisation)
    json["randomisation"].push_back({{"layer", layer}, {"rank_correlation", correlation}});
  return json;
}

Plot curves_plot(const std::string& title, const std::vector<ShownMap>& maps,
                 const model::explain::ScoreCurve MapCheck::*which,
                 const model::explain::ScoreCurve& random) {
  Plot plot;
  plot.title = title;
  plot.height = 260;
  plot.x.title = "share of the pixels";
  std::vector<double> scores;
  const auto add = [&](const std::string& style, const std::string& name,
                       const model::explain::ScoreCurve& curve) {
    PlotSeries series{style, style == "faint" ? "" : name, {}, {}, name};
    for (size_t i = 0; i < curve.share.size(); i++)
      series.points.push_back({curve.share[i], curve.score[i]});
    scores.insert(scores.end(), curve.score.begin(), curve.score.end());
    plot.series.push_back(series);
  };
  add("faint", "random", random);
  plot.series.back().label = "random";
  for (size_t i = maps.size(); i-- > 0;)
    add(i == 0 ? "a" : i == 1 ? "b" : "faint", maps[i].method->name, (*maps[i].check).*which);
  plot.y = axis_for("score", scores, false);
  return plot;
}

std::string defined(double value) { return std::isfinite(value) ? rounded(value, 3) : "–"; }

std::string pointing_section(const ExplanationReport& report) {
  const std::vector<Pointing> all = pointing_of(report.pictures);
  if (all.empty()) return "";
  HtmlTable table;
  table.caption = "Beside the masks of " + counted(all[0].pictures, "picture", "pictures");
  table.columns = {"method", "points inside", "IoU", "precision", "recall"};
  const auto percent = [](double share) { return fixed(100 * share, 1) + " %"; };
  for (const Pointing& p : all)
    table.rows.push_back(
        {p.method, percent(p.inside), defined(p.iou), defined(p.precision), defined(p.recall)});
  table.rows.push_back({"the middle of the crop", percent(all[0].centre), "", "", ""});
  table.rows.push_back({"a random pixel", percent(all[0].random), "", "", ""});
  if (std::isfinite(all[0].brightness_iou))
    table.rows.push_back({"the picture's brightness", "", defined(all[0].brightness_iou), "", ""});
  return element("h2", "Beside masks that were drawn") + table.to_string() +
         element("p",
                 "How often a map's largest value lies in the mask of what is looked for, and how "
                 "well masks made of maps agree with it, pixel by pixel, within the crop.",
                 "class=\"quiet\"");
}

std::string checks(const ExplainedPicture& p) {
  HtmlTable table;
  table.caption = "How faithful the maps are to the network";
  table.columns = {"method",     "deletion",    "insertion",
                   "infidelity", "sensitivity", "random weights"};
  for (const ShownMap& map : p.maps) {
    const MapCheck& c = *map.check;
    table.rows.push_back({map.method->name, defined(c.deletion.area()), defined(c.insertion.area()),
                          defined(c.infidelity), defined(c.sensitivity),
                          c.randomisation.empty() ? "–" : defined(c.randomisation.back().second)});
  }
  table.rows.push_back({"pixels at random", defined(p.random_deletion->area()),
                        defined(p.random_insertion->area()), "1", "", ""});
  std::string text =
      element("h3", "Checks") + table.to_string() +
      element("p",
              "Deletion takes away pixels from the map's strongest on: the less area "
              "below the score's curve, the better. Insertion brings them into an "
              "empty picture: the more, the better. Infidelity is 0 where the map "
              "foretells every change of the score, 1 where it foretells none. "
              "Sensitivity is how much the map changes when the picture hardly does. "
              "The last column is the rank correlation with the map of random "
              "weights: near 0 where the map is about what the network learnt.",
              "class=\"quiet\"");
  text += "<div class=\"columns\">\n";
  for (const Plot& plot : {curves_plot("Deletion: score by share of pixels taken away", p.maps,
                                       &MapCheck::deletion, *p.random_deletion),
                           curves_plot("Insertion: score by share of pixels shown", p.maps,
                                       &MapCheck::insertion, *p.random_insertion)})
    text +=
        "<figure>\n" + element("p", plot.title, "class=\"plot-title\"") + svg(plot) + "</figure>\n";
  return text + "</div>\n";
}

// Of which pixels numbers are added up.
std::string over_pixels(const ExplanationReport& report, const ExplainedPicture& p) {
  if (p.region.empty()) return "";
  const bool of_class = p.region == "predicted" || p.region == "labelled";
  return escaped(report.task.empty() ? "" : " (" + report.task + ")") + ", added up over " +
         with_separators(p.pixels) + (p.pixels == 1 ? " pixel" : " pixels") +
         (of_class            ? std::string(p.region == "predicted" ? " called so" : " labelled so")
          : p.region == "all" ? std::string(", all that were measured")
                              : " of the mask " + element("code", last_part(p.region)));
}

std::string fields_section(const ExplanationReport& report) {
  std::string figures;
  HtmlTable table;
  table.caption = "Sides of squares, pixels";
  table.columns = {"task", "half of the gradient", "90 %", "Luo et al.", "possible"};
  for (const EffectiveField& field : report.fields) {
    if (field.pictures == 0) continue;
    const std::string name = field.task.empty() ? "its only one" : field.task;
    table.rows.push_back({name, with_separators(field.half), with_separators(field.most),
                          fixed(field.effective, 1),
                          field.possible > 0 ? with_separators(field.possible) : "all"});
    const std::string side = std::to_string(field.side);
    figures += "<figure><div class=\"picture\"><img src=\"" + data_uri(field.png) + "\" width=\"" +
               side + "\" height=\"" + side + "\" alt=\"" +
               escaped("effective receptive field of " + name) + "\"></div>\n<figcaption>" +
               element("strong", name) + ", mean of " +
               counted(field.pictures, "picture", "pictures") + "</figcaption></figure>\n";
  }
  if (table.rows.empty()) return "";
  return element("h2", "How far the middle pixel sees") + table.to_string() +
         element("p",
                 "The gradient of the logit that the middle pixel is called by, by the input: its "
                 "size, added up over the bands. The line is the square around the pixel that "
                 "holds 90 % of it; colours go with its root, so that what is far is visible. Luo "
                 "et al. 2016 count the pixels with more than 4.55 % of the largest value. "
                 "Possible is what the layers' windows let it see.",
                 "class=\"quiet\"") +
         "<div class=\"maps\">\n" + figures + "</div>\n";
}

std::string section(const ExplanationReport& report, const ExplainedPicture& p) {
  std::string text = "<section>\n" + element("h2", last_part(p.path));
  if (!p.error.empty()) return text + element("p", p.error, "class=\"warning\"") + "</section>\n";
  const std::string& name = report.classes[static_cast<size_t>(p.target)];
  text += "<p>Explained: the " + std::string(report.probability ? "probability" : "logit") +
          " of " + element("strong", name) + over_pixels(report, p) + ". " +
          (frame_of(p).empty() ? "" : "The dashed line frames what the network saw. ") + "</p>\n" +
          probability_table(report, p) + "<div class=\"maps\">\n<figure><div class=\"picture\">" +
          image(p, p.png, p.path) + frame_of(p) + "</div>\n<figcaption>" +
          element("strong", "the picture") + ", " + with_separators(p.header.width) + " × " +
          with_separators(p.header.height) + " pixels</figcaption></figure>\n";
  for (const ShownMap& map : p.maps) text += map_figure(p, map);
  text += "</div>\n";
  if (p.random_deletion) text += checks(p);
  return text + "</section>\n";
}

}  // namespace

Json explanation_json(const ExplainedPicture& p, const ExplanationReport& report) {
  if (!p.error.empty()) return {{"path", p.path}, {"error", p.error}};
  const std::vector<std::string>& classes = report.classes;
  Json line{{"path", p.path}};
  if (!report.task.empty()) line["task"] = report.task;
  line["target"] = classes[static_cast<size_t>(p.target)];
  if (!p.region.empty()) line["region"] = {{"what", p.region}, {"pixels", p.pixels}};
  Json& numbers = line[p.region.empty() ? "probabilities" : "shares"];
  numbers = Json::object();
  for (size_t k = 0; k < classes.size(); k++) numbers[classes[k]] = p.probabilities[k];
  line["seen"] = {{"left", p.seen.left},
                  {"top", p.seen.top},
                  {"width", p.seen.width()},
                  {"height", p.seen.height()}};
  if (p.truth) {
    line["truth"] = {
        {"path", p.truth->path}, {"share", p.truth->share}, {"centre_inside", p.truth->centre}};
    if (p.truth->brightness) line["truth"]["brightness_iou"] = p.truth->brightness->iou;
  }
  line["maps"] = Json::array();
  for (const ShownMap& map : p.maps) {
    Json one{{"method", map.method->name}, {"score", map.score},
             {"largest", map.largest},     {"at", {{"column", map.peak_x}, {"row", map.peak_y}}},
             {"seconds", map.seconds},     {"files", map.files}};
    if (!map.layer.empty()) one["layer"] = map.layer;
    if (map.check) one["check"] = json_of(*map.check, p);
    if (map.baseline_score) {
      one["baseline_score"] = *map.baseline_score;
      one["completeness"] = {{"absolute", *map.error}, {"relative", *map.relative_error}};
    }
    if (map.points_inside) one["points_inside"] = *map.points_inside;
    if (map.mask_scores)
      one["mask"] = {{"iou", map.mask_scores->iou},
                     {"precision", map.mask_scores->precision},
                     {"recall", map.mask_scores->recall}};
    line["maps"].push_back(one);
  }
  return line;
}

std::vector<Pointing> pointing_of(const std::vector<ExplainedPicture>& pictures) {
  std::vector<Pointing> all;
  for (const ExplainedPicture& p : pictures) {
    if (!p.truth || !p.error.empty()) continue;
    all.resize(p.maps.size());
    for (size_t m = 0; m < all.size(); m++) {
      Pointing& one = all[m];
      one.method = p.maps[m].method->name;
      one.pictures++;
      one.inside += *p.maps[m].points_inside;
      one.centre += p.truth->centre;
      one.random += p.truth->share;
      const model::explain::MaskScores none{NAN, NAN, NAN};
      const auto scores = p.maps[m].mask_scores.value_or(none);
      one.iou += scores.iou;
      one.precision += scores.precision;
      one.recall += scores.recall;
      one.brightness_iou += p.truth->brightness.value_or(none).iou;
    }
  }
  for (Pointing& one : all)
    for (double* sum : {&one.inside, &one.centre, &one.random, &one.iou, &one.precision,
                        &one.recall, &one.brightness_iou})
      *sum /= static_cast<double>(one.pictures);
  return all;
}

std::string explanation_html(const ExplanationReport& report) {
  const auto failed = std::count_if(report.pictures.begin(), report.pictures.end(),
                                    [](const ExplainedPicture& p) { return !p.error.empty(); });
  const std::string title = "Why " + last_part(report.model) + " decides so";
  std::string text =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
      element("title", title + " – Fulmar") + "\n<style>" + report_style + explanation_style +
      "</style>\n</head>\n<body>\n<header>\n" + element("h1", title) +
      element("p",
              "For each picture: what the network says of it, and which parts of it speak for "
              "that (red) or against it (blue). Class activation maps (names that end in "
              "-cam) show only what speaks for it. Each map is drawn from its own strongest "
              "values, so strengths can't be compared between maps; the files beside this "
              "page hold the numbers as they are. A logit is a class's score before it becomes "
              "a probability.") +
      scale() + "</header>\n" + opacity() + "<main>\n";
  if (failed > 0)
    text += element("p",
                    std::to_string(failed) + " of " + std::to_string(report.pictures.size()) +
                        " pictures could not be used.",
                    "class=\"warning\"");
  Json numbers = Json::array();
  for (const ExplainedPicture& picture : report.pictures) {
    text += section(report, picture);
    numbers.push_back(explanation_json(picture, report));
  }
  text += pointing_section(report) + fields_section(report);
  return text + "<h2>How it was made</h2>\n<pre>" + escaped(report.command) + "</pre>\n</main>\n" +
         element("footer",
                 std::string("Written by fulmar ") + version() + ", commit " + commit() + ".") +
         json_script("numbers", numbers) + "</body>\n</html>\n";
}

}  // namespace fulmar::tools
