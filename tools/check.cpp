#include <algorithm>
#include <memory>
#include <optional>

#include "data/audit.h"
#include "tools/audit_json.h"
#include "tools/cli.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/signals.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using data::Audit;

struct Options {
  std::string folder, scenes = "prefix";
  std::optional<std::string> bands;
  int64_t max_pixels = data::ImageLimits{}.max_pixels;
};

constexpr size_t shown_at_most = 10;  // of a kind, to people; --json has all

std::string counts_table(const Audit& audit) {
  using Align = Table::Align;
  Table table({{"folder", Align::left},
               {"class", Align::left},
               {"pictures", Align::right},
               {"black", Align::right},
               {"missing", Align::right},
               {"wholly black", Align::right}});
  for (const Audit::Part& part : audit.parts)
    for (const Audit::Class& c : part.classes)
      table.add({&c == &part.classes.front() ? part.folder : "", c.name,
                 with_separators(c.pictures), fixed(100 * c.black_fraction, 1) + " %",
                 fixed(100 * c.missing_fraction, 1) + " %", with_separators(c.wholly_black)});
  return table.to_string();
}

std::string format_table(const Audit& audit) {
  using Align = Table::Align;
  Table table({{"size", Align::left},
               {"bands", Align::right},
               {"type", Align::left},
               {"pictures", Align::right}});
  for (size_t i = 0; i < std::min(audit.formats.size(), shown_at_most); i++) {
    const data::ImageHeader& h = audit.formats[i].header;
    table.add({std::to_string(h.width) + "x" + std::to_string(h.height), std::to_string(h.bands),
               name_of(h.type), with_separators(audit.formats[i].pictures)});
  }
  if (audit.formats.size() > shown_at_most)
    table.add(
        {"and " + std::to_string(audit.formats.size() - shown_at_most) + " more", "", "", ""});
  return table.to_string();
}

// A heading and the first few of a list; nothing where it is empty.
template <class List, class Text>
std::string section(const std::string& heading, const List& list, const Text& text_of) {
  if (list.empty()) return "";
  std::string text = "\n" + with_separators(std::ssize(list)) + " " + heading + "\n";
  for (size_t i = 0; i < std::min(list.size(), shown_at_most); i++)
    text += "  " + text_of(list[i]) + "\n";
  if (list.size() > shown_at_most)
    text +=
        "  and " + with_separators(static_cast<int64_t>(list.size() - shown_at_most)) + " more\n";
  return text;
}

std::string all_of(const Audit::Paths& paths) {
  std::string text;
  for (const std::string& path : paths) text += (text.empty() ? "" : " = ") + path;
  return text;
}

std::string report(const Audit& audit) {
  std::string text = counts_table(audit) + "\n" + format_table(audit);
  const auto as_is = [](const std::string& line) { return line; };
  text += section(audit.structure.size() == 1 ? "fault of the folders" : "faults of the folders",
                  audit.structure, as_is);
  text += section("unreadable: replace or remove them", audit.unreadable,
                  [](const Audit::Unreadable& u) { return u.reason; });
  text += section("equal pictures with two labels: keep one of each", audit.two_labels, all_of);
  text +=
      section("equal pictures in train and test: keep one of each", audit.in_both_parts, all_of);
  text += section("scenes in train and test: move each to one side", audit.shared_scenes,
                  [](const Audit::SharedScene& s) {
                    return s.scene + ": " + s.train.front() + ", " + s.test.front();
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
  text += audit.has_faults() ? "\nsomething is wrong: see above\n" : "\nnothing is wrong\n";
  text += section("equal pictures of one class (noted)", audit.repeated, all_of);
  text += section("files left out: no pictures, or outside the class folders (noted)", audit.stray,
                  as_is);
  if (audit.dropped_alpha > 0)
    text += "\n" + with_separators(audit.dropped_alpha) +
            " pictures have transparency, which is left out (noted)\n";
  return text;
}

int run(const Options& options, const SharedOptions& shared) {
  const auto rule = options.scenes == "file" ? data::SceneRule::file : data::SceneRule::prefix;
  const data::Folder folder =
      data::survey_folder(options.folder, rule, data::BandFiles::parse(options.bands.value_or("")));
  size_t total = folder.train.samples.size();
  if (folder.test) total += folder.test->samples.size();
  CommandContext command(shared);
  Audit audit;
  {
    Progress progress(static_cast<int64_t>(total), "images");
    audit = data::audit_folder(folder, {options.max_pixels}, command.context().pool(),
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
      .add_option("DIR", options->folder, "Folder with train/CLASS/* and test/CLASS/*, or CLASS/*")
      ->required();
  add_choice(command, "--scenes", options->scenes, {"prefix", "file"},
             "Pictures that share the name before the first _ are one scene, or each is its own\n"
             "(default prefix)");
  add_bands(command, options->bands, "(default: a file is a sample)");
  add_max_pixels(command, options->max_pixels);
}

}  // namespace fulmar::tools
