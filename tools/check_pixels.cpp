#include "tools/check_pixels.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "data/label_raster.h"
#include "data/pictures.h"
#include "data/raster_folder.h"
#include "kernels/error.h"
#include "tools/console.h"
#include "tools/output.h"
#include "tools/progress.h"
#include "tools/run/audit_text.h"
#include "tools/run/pixel_classes.h"
#include "tools/run/results.h"
#include "tools/run/text.h"
#include "tools/signals.h"
#include "tools/table.h"

namespace fulmar::tools {
namespace {

using Align = Table::Align;

// The labels of one task in one part.
struct LayerCounts {
  std::map<int64_t, int64_t> pixels;  // by number
  int64_t unlabelled = 0, all = 0;
  int64_t without = 0;  // pictures whose labels are all missing
};

struct Part {
  std::string name;
  int64_t pictures = 0, scenes = 0;
  std::vector<std::string> layers;
  std::vector<LayerCounts> counts;
};

struct Audit {
  std::vector<Part> parts;
  std::map<std::string, int64_t> formats;  // "512x512, 2 bands, f32": pictures
  std::vector<std::string> faults, notes;
  data::LeftOut left_out;
};

std::string format_of(const data::ImageHeader& h) {
  return std::to_string(h.width) + "x" + std::to_string(h.height) + ", " +
         counted(h.bands, "band", "bands") + ", " + name_of(h.type);
}

class Auditor {
 public:
  Auditor(const CheckPixelsOptions& options, ThreadPool& pool)
      : options_(options),
        pool_(pool),
        limits_(image_limits(options.max_pixels)),
        ignored_(ignored_numbers(options.ignore)) {}

  Audit run() {
    const data::BandFiles bands = data::BandFiles::parse(options_.bands.value_or(""));
    const data::Folder folder =
        data::survey_rasters(options_.folder, data::LabelFiles::parse(options_.labels),
                             options_.pictures, data::scene_rule_named(options_.scenes), bands);
    audit_.faults = folder.faults;
    audit_.notes = folder.notes;
    audit_.left_out = folder;
    std::map<std::string, std::set<std::string>> parts_of_scene;
    for (const data::Dataset* dataset : folder.parts()) {
      look_at(*dataset);
      for (const data::Sample& sample : dataset->samples)
        parts_of_scene[sample.scene].insert(dataset->folder);
    }
    for (const auto& [scene, parts] : parts_of_scene)
      if (parts.size() > 1)
        audit_.faults.push_back("scene " + scene +
                                " is in several parts; move its pictures to one, or say with "
                                "--scenes file that each picture is its own");
    if (audit_.formats.size() > 1) note_formats();
    return std::move(audit_);
  }

 private:
  void look_at(const data::Dataset& dataset) {
    Part part;
    part.name = dataset.folder;
    part.pictures = std::ssize(dataset.samples);
    part.layers = dataset.layers;
    part.counts.resize(dataset.layers.size());
    std::set<std::string> scenes;
    for (const data::Sample& sample : dataset.samples) scenes.insert(sample.scene);
    part.scenes = std::ssize(scenes);
    Progress progress(part.pictures, "pictures");
    std::mutex mutex;
    const data::PictureErrors errors = data::for_each_picture(
        pool_, part.pictures,
        [&](int64_t i) { look_at(dataset, dataset.samples[static_cast<size_t>(i)], part, mutex); },
        [&](int64_t done, int64_t) {
          stop_if_interrupted();
          progress.update(done);
        });
    for (const auto& [picture, reason] : errors) audit_.faults.push_back(reason);
    audit_.parts.push_back(std::move(part));
  }

  void look_at(const data::Dataset& dataset, const data::Sample& sample, Part& part,
               std::mutex& mutex) {
    const data::ImageHeader header = data::probe_sample(sample.path, dataset.bands, limits_);
    std::vector<data::LabelCounts> found;
    for (size_t layer = 0; layer < sample.label_files.size(); layer++) {
      const std::string &file = sample.label_files[layer], &task = dataset.layers[layer];
      const data::ImageHeader labels = data::probe_labels(file, limits_, task);
      if (labels.height != header.height || labels.width != header.width)
        file_error(file + ": it has " + std::to_string(labels.width) + " x " +
                   std::to_string(labels.height) + " pixels, and its picture " +
                   std::to_string(header.width) + " x " + std::to_string(header.height) +
                   "; labels must lie on the picture's pixels");
      found.push_back(data::count_labels(file, limits_, task));
    }
    const std::lock_guard lock(mutex);
    audit_.formats[format_of(header)]++;
    for (size_t layer = 0; layer < found.size(); layer++)
      add(found[layer], header.pixels(), part.counts[layer]);
  }

  void add(const data::LabelCounts& found, int64_t pixels, LayerCounts& to) const {
    int64_t labelled = 0;
    for (const auto& [number, count] : found.pixels) {
      if (data::means_unlabelled(number, ignored_)) continue;
      to.pixels[number] += count;
      labelled += count;
    }
    to.all += pixels;
    to.unlabelled += pixels - labelled;
    to.without += labelled == 0;
  }

  // Type and bands must be the same, extents need not.
  void note_formats() {
    std::set<std::string> kinds;
    for (const auto& format : audit_.formats)
      kinds.insert(format.first.substr(format.first.find(',')));
    if (kinds.size() > 1)
      audit_.faults.emplace_back(
          "pictures of several types or numbers of bands don't go together: convert them, or say "
          "with --pictures which are meant");
  }

  const CheckPixelsOptions& options_;
  ThreadPool& pool_;
  data::ImageLimits limits_;
  std::vector<int64_t> ignored_;
  Audit audit_;
};

double share(int64_t part, int64_t all) {
  return all > 0 ? static_cast<double>(part) / static_cast<double>(all) : 0;
}

Json json_of(const Audit& audit, const std::string& folder) {
  Json parts = Json::array();
  for (const Part& part : audit.parts) {
    Json tasks = Json::object();
    for (size_t i = 0; i < part.layers.size(); i++) {
      const LayerCounts& c = part.counts[i];
      Json classes = Json::object();
      for (const auto& [number, count] : c.pixels)
        classes[std::to_string(number)] = {{"pixels", count},
                                           {"share", share(count, c.all - c.unlabelled)}};
      tasks[part.layers[i]] = {{"pixels", c.all},
                               {"unlabelled_share", share(c.unlabelled, c.all)},
                               {"pictures_without_labels", c.without},
                               {"classes", classes}};
    }
    parts.push_back({{"folder", part.name},
                     {"pictures", part.pictures},
                     {"scenes", part.scenes},
                     {"tasks", tasks}});
  }
  return {{"folder", folder},       {"parts", parts},       {"formats", audit.formats},
          {"faults", audit.faults}, {"notes", audit.notes}, {"stray", audit.left_out.stray}};
}

std::string tables(const Audit& audit) {
  Table table({{"folder", Align::left},
               {"task", Align::left},
               {"number", Align::right},
               {"pixels", Align::right},
               {"of the labelled", Align::right}});
  std::string text;
  for (const Part& part : audit.parts) {
    text += part.name + ": " + counted(part.pictures, "picture", "pictures") + " of " +
            counted(part.scenes, "scene", "scenes") + "\n";
    for (size_t i = 0; i < part.layers.size(); i++) {
      const LayerCounts& c = part.counts[i];
      text += "  " + part.layers[i] + ": " + fixed(100 * share(c.unlabelled, c.all), 1) +
              " % of the pixels have no label" +
              (c.without > 0 ? ", among them all of " + counted(c.without, "picture", "pictures")
                             : "") +
              "\n";
      for (const auto& [number, count] : c.pixels)
        table.add({part.name, part.layers[i], std::to_string(number), with_separators(count),
                   fixed(100 * share(count, c.all - c.unlabelled), 2) + " %"});
    }
  }
  text += "\n" + table.to_string() + "\n";
  for (const auto& [format, pictures] : audit.formats)
    text += format + ": " + counted(pictures, "picture", "pictures") + "\n";
  return text;
}

std::string listed(const std::string& heading, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string text = "\n" + heading + "\n";
  for (size_t i = 0; i < std::min(lines.size(), shown_groups); i++) text += "  " + lines[i] + "\n";
  if (lines.size() > shown_groups)
    text += "  and " + std::to_string(lines.size() - shown_groups) + " more\n";
  return text;
}

}  // namespace

int check_pixels(const CheckPixelsOptions& options, const SharedOptions& shared) {
  CommandContext command(shared);
  const Audit audit = Auditor(options, command.context().pool()).run();
  if (shared.json)
    print_pretty(json_of(audit, options.folder));
  else
    print(tables(audit) + listed("faults", audit.faults) + listed("noted", audit.notes) +
          listed("files that go with nothing (noted)", audit.left_out.stray) +
          (audit.faults.empty() ? "\nnothing is wrong\n" : "\nsomething is wrong: see above\n"));
  if (!audit.faults.empty())
    say(options.folder + ": put right what the report names, and check again");
  return audit.faults.empty() ? exit_ok : exit_file;
}

}  // namespace fulmar::tools
