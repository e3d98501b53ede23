#include <algorithm>
#include <memory>
#include <optional>

#include "data/audit.h"
#include "data/raster_folder.h"
#include "kernels/error.h"
#include "tools/check_pixels.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/picture_options.h"
#include "tools/progress.h"
#include "tools/run/audit_json.h"
#include "tools/run/audit_text.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/signals.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using data::Audit;

struct Options {
  std::string folder, scenes = "name";
  std::optional<std::string> bands;
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
  std::optional<std::string> labels, pictures;  // of labels by pixel
  std::optional<std::vector<double>> ignore;
};

std::string counts_table(const Audit& audit) {
  using Align = Table::Align;
  Table table({{"folder", Align::left},
               {"class", Align::left},
               {"pictures", Align::right},
               {"scenes", Align::right},
               {"constant", Align::right},
               {"black", Align::right},
               {"missing", Align::right},
               {"wholly black", Align::right}});
  for (const Audit::Part& part : audit.parts)
    for (const Audit::Class& c : part.classes)
      table.add({&c == &part.classes.front() ? part.folder : "", c.name,
                 with_separators(c.pictures), with_separators(c.scenes),
                 with_separators(c.constant), fixed(100 * c.black_fraction, 1) + " %",
                 fixed(100 * c.missing_fraction, 1) + " %", with_separators(c.wholly_black)});
  return table.to_string();
}

std::string format_table(const Audit& audit) {
  using Align = Table::Align;
  Table table({{"size", Align::left},
               {"bands", Align::right},
               {"type", Align::left},
               {"pictures", Align::right}});
  for (size_t i = 0; i < std::min(audit.formats.size(), shown_groups); i++) {
    const data::ImageHeader& h = audit.formats[i].header;
    table.add({std::to_string(h.width) + "x" + std::to_string(h.height), std::to_string(h.bands),
               name_of(h.type), with_separators(audit.formats[i].pictures)});
  }
  if (audit.formats.size() > shown_groups)
    table.add({"and " + std::to_string(audit.formats.size() - shown_groups) + " more", "", "", ""});
  return table.to_string();
}

// The range of each band, which tells what --range or --standardize has to do with.
std::string value_table(const Audit& audit) {
  using Align = Table::Align;
  Table table({{"type", Align::left},
               {"band", Align::left},
               {"least", Align::right},
               {"greatest", Align::right},
               {"mean", Align::right},
               {"deviation", Align::right}});
  for (const Audit::Values& v : audit.values)
    for (size_t i = 0; i < v.bands.size(); i++) {
      const Audit::Band& band = v.bands[i];
      const auto text = [&](double value) { return band.values > 0 ? rounded(value, 5) : "-"; };
      table.add({name_of(v.type), std::to_string(i + 1) + " of " + std::to_string(v.bands.size()),
                 text(band.low), text(band.high), text(band.mean), text(band.deviation)});
    }
  return table.to_string();
}

// How many, a heading and the first few of a list; nothing where it is empty.
template <class List, class Text>
std::string section(const std::string& one, const std::string& many, const List& list,
                    const Text& text_of) {
  if (list.empty()) return "";
  std::string text = "\n" + counted(std::ssize(list), one, many) + "\n";
  for (size_t i = 0; i < std::min(list.size(), shown_groups); i++)
    text += "  " + text_of(list[i]) + "\n";
  if (list.size() > shown_groups)
    text +=
        "  and " + with_separators(static_cast<int64_t>(list.size() - shown_groups)) + " more\n";
  return text;
}

std::string equal_pictures(const Audit& audit, const std::vector<Audit::Paths>& groups,
                           const std::string& where) {
  return section("group of equal pictures " + where, "groups of equal pictures " + where,
                 telling_groups(groups, audit.constant),
                 [](const Audit::Paths& group) { return first_names(group, " = "); });
}

std::string as_is(const std::string& line) { return line; }

std::string faults(const Audit& audit) {
  std::string text =
      section("fault of the folders", "faults of the folders", audit.structure, as_is);
  text += section("unreadable: replace or remove it", "unreadable: replace or remove them",
                  audit.unreadable, [](const Audit::Unreadable& u) { return u.reason; });
  text += equal_pictures(audit, audit.two_labels, "with two labels: keep one of each");
  text += equal_pictures(audit, audit.in_both_parts,
                         audit.parts.size() > 2 ? "in several parts: keep one of each"
                                                : "in train and test: keep one of each");
  const std::string where =
      (audit.parts.size() > 2 ? std::string("in several parts") : "in train and test") +
      ": move each to one side, or say with --scenes file that each picture is its own";
  text += section("scene " + where, "scenes " + where, audit.shared_scenes,
                  [](const Audit::SharedScene& s) {
                    std::vector<std::string> firsts;
                    for (const Audit::Paths& paths : s.parts)
                      if (!paths.empty()) firsts.push_back(paths.front());
                    return s.scene + ": " + first_names(firsts);
                  });
  if (audit.mixed_types)
    text +=
        "\npictures of 8 bits, of 16 bits and of float32 don't go together: convert them to one "
        "kind\n";
  if (audit.mixed_bands)
    text +=
        "\npictures of these numbers of bands don't go together: take one kind, or say with "
        "--bands which files do\n";
  if (audit.mixed_nodata)
    text += "\nthe pictures have different nodata values: convert them to one\n";
  return text;
}

std::vector<std::string> remark_lines(const Audit& audit) {
  std::vector<std::string> lines;
  for (const auto& [remark, paths] : audit.remarks)
    lines.push_back(paths.front() + ": " + remark + " (" +
                    counted(std::ssize(paths), "picture", "pictures") + ")");
  return lines;
}

// What hinders nothing.
std::string notes(const Audit& audit) {
  std::string text = section("note", "notes", audit.notes, as_is);
  text += equal_pictures(audit, audit.repeated, "in one class (noted)");
  const data::LeftOut& left = audit.left_out;
  text += section("file left out: no picture, or outside the class folders (noted)",
                  "files left out: no pictures, or outside the class folders (noted)", left.stray,
                  as_is);
  text += section("copy or leaving of an editor, a file manager or a download, left out (noted)",
                  "copies or leavings of editors, file managers or downloads, left out (noted)",
                  left.copies, as_is);
  text += section("run or cache of a training, left out (noted)",
                  "runs or caches of trainings, left out (noted)", left.made, as_is);
  const std::vector<std::string> remarks = remark_lines(audit);
  text += section("remark on files (noted)", "remarks on files (noted)", remarks, as_is);
  if (audit.dropped_alpha > 0)
    text += "\n" +
            counted(audit.dropped_alpha, "picture has transparency, which is left out (noted)",
                    "pictures have transparency, which is left out (noted)") +
            "\n";
  return text;
}

std::string constant_pictures(const Audit& audit) {
  if (audit.constant.empty()) return "";
  std::string text = "\n" + constant_heading(audit) + ": better leave them out\n";
  const std::vector<std::string> counts = constant_counts(audit);
  for (size_t i = 0; i < std::min(counts.size(), shown_groups); i++)
    text += "  " + counts[i] + "\n";
  if (counts.size() > shown_groups)
    text += "  and " + std::to_string(counts.size() - shown_groups) + " classes more\n";
  return text + "  such as " + first_names(audit.constant) + "\n";
}

std::string report(const Audit& audit) {
  std::string text = counts_table(audit) + "\n" + format_table(audit) + "\n" + value_table(audit) +
                     "\n" + audit.scenes + " to train on\n" + faults(audit);
  // Equal ones with two labels are a fault, whatever they show.
  const std::string constant = constant_pictures(audit), noted = notes(audit);
  if (audit.has_faults()) return text + constant + "\nsomething is wrong: see above\n" + noted;
  return text +
         (constant.empty() && noted.empty() ? "\nnothing is wrong\n"
                                            : "\nnothing is wrong; noted is:\n") +
         constant + noted;
}

// Tells what --validation and --test would refuse.
void note_what_splits_refuse(data::Folder& folder) {
  if (folder.validation || !folder.faults.empty()) return;
  try {
    data::split_dataset(folder.train, 0.2, 0);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    folder.notes.push_back(std::string("--validation and --test would be refused: ") +
                           error.what());
  }
}

int run(const Options& options, const SharedOptions& shared) {
  const std::string usual = data::usual_label_files(options.folder);
  if (options.labels || !usual.empty())
    return check_pixels(
        {options.folder, options.scenes, options.labels.value_or(usual),
         options.pictures.value_or(""), options.bands, options.ignore, options.max_pixels},
        shared);
  data::Folder folder = data::survey_folder(options.folder, data::scene_rule_named(options.scenes),
                                            data::BandFiles::parse(options.bands.value_or("")));
  note_what_splits_refuse(folder);
  size_t total = 0;
  for (const data::Dataset* part : folder.parts()) total += part->samples.size();
  CommandContext command(shared);
  Audit audit;
  {
    Progress progress(static_cast<int64_t>(total), "images");
    audit = data::audit_folder(folder, image_limits(options.max_pixels), command.context().pool(),
                               [&](int64_t done, int64_t) {
                                 stop_if_interrupted();
                                 progress.update(done);
                               });
  }
  if (shared.json)
    print_pretty(audit_json(audit, options.folder));
  else
    print(report(audit));
  if (audit.has_faults())
    say(options.folder + ": put right what the report names, and check again");
  return audit.has_faults() ? exit_file : exit_ok;
}

}  // namespace

void add_check(Cli& cli) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      add_command(cli, "check", "Look for what is wrong with a folder of labelled pictures",
                  [options, &cli] { return run(*options, cli.shared); });
  command
      .add_option("DIR", options->folder,
                  "Folder with train/CLASS/*, val/CLASS/* and test/CLASS/*, or CLASS/*")
      ->required();
  add_scenes(command, options->scenes);
  add_bands(command, options->bands, "(default: a file is a sample)");
  command
      .add_option("--labels", options->labels,
                  "Label rasters beside the pictures, as 'train' takes them: looks at labels by "
                  "pixel")
      ->type_name("PATTERN");
  add_pictures(command, options->pictures);
  add_ignore(command, options->ignore);
  add_max_pixels(command, options->max_pixels);
}

}  // namespace fulmar::tools
