#include "tools/train_report.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <new>
#include <set>

#include "data/audit.h"
#include "engine/file.h"
#include "kernels/error.h"
#include "tools/audit_json.h"
#include "tools/audit_text.h"
#include "tools/console.h"
#include "tools/machine.h"
#include "tools/progress.h"
#include "tools/report.h"
#include "tools/results.h"
#include "tools/signals.h"

namespace fulmar::tools {
namespace {

// Scenes by class.
std::vector<int64_t> scene_counts(const data::Dataset& dataset) {
  std::vector<std::set<std::string>> scenes(dataset.classes.size());
  for (const data::Sample& sample : dataset.samples)
    scenes[static_cast<size_t>(sample.label)].insert(sample.scene);
  std::vector<int64_t> counts;
  for (const auto& of_class : scenes) counts.push_back(std::ssize(of_class));
  return counts;
}

// What `fulmar check` finds in the pictures as the network gets them, of the two parts.
Json data_json(const RunSamples& samples, const Sources& sources, Context& context) {
  data::Folder folder;
  folder.train = samples.train.dataset;
  folder.train.folder = "training";
  static_cast<data::LeftOut&>(folder) = samples.left_out;
  folder.notes = samples.notes;
  Json scenes = Json::array({scene_counts(folder.train)});
  if (!samples.validation.empty()) {
    folder.validation = samples.validation.dataset;
    folder.validation->folder = "validation";
    scenes.push_back(scene_counts(*folder.validation));
  }
  Progress progress(samples.train.count() + samples.validation.count(), "pictures");
  progress.label("looking the pictures over");
  const data::Audit audit = data::audit_pictures(
      folder,
      [&](size_t part, int64_t sample) {
        return data::picture_of(part == 0 ? *sources.train_pictures : *sources.validation_pictures,
                                sample);
      },
      context.pool(),
      [&](int64_t done, int64_t) {
        stop_if_interrupted();
        progress.update(done);
      });
  for (const std::string& warning : training_warnings(audit)) note(warning);
  const std::string& path = samples.train.dataset.folder;
  return {{"folder", path}, {"scenes", scenes}, {"check", audit_json(audit, path)}};
}

void evaluate_validation(const model::RunFolder& folder, const RunSamples& samples,
                         const Sources& sources, const std::string& command, Context& context,
                         Device& device) {
  const Checkpoint best = Checkpoint::read(folder.best());
  const int64_t total = samples.validation.count();
  Progress progress(total, "pictures");
  progress.label("validating the best");
  const int64_t batch = sources.validation->tensors().front().shape[0];
  Evaluation evaluation =
      evaluate(best, *sources.validation, samples.validation.dataset, context, device,
               [&](int64_t batches) { progress.update(std::min(batches * batch, total)); });
  evaluation.set = "validation";
  evaluation.model_crc32c = crc32c_of_file(folder.best());
  evaluation.time = utc_now();
  evaluation.command = command;
  add_mistakes(evaluation, *sources.validation_pictures, best.info().preprocess);
  write_file(evaluation_path(folder.path(), evaluation), evaluation_text(evaluation));
}

}  // namespace

std::optional<Error> failure_of(const std::function<void()>& report) {
  try {
    report();
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error(ErrorKind::device, "there is not enough memory for the report");
  } catch (const std::exception& error) {
    return Error(ErrorKind::file, error.what());
  }
}

void report_training(const model::RunFolder& folder, RunRecord& record, const RunSamples& samples,
                     const Sources& sources, const std::string& command, Context& context,
                     Device& device) {
  record.keep_data(data_json(samples, sources, context));
  if (sources.validation && std::filesystem::exists(folder.best()))
    evaluate_validation(folder, samples, sources, command, context, device);
  note("report: " + write_report(folder.path()));
}

void report_unfinished(const model::RunFolder& folder, RunRecord& record,
                       const std::string& ended) {
  const std::optional<Error> failure = failure_of([&] {
    record.end(ended);
    write_report(folder.path());
  });
  if (failure) note(std::string("no report of this run: ") + failure->what());
}

}  // namespace fulmar::tools
