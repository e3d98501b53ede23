#include "tools/run/after_training.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <new>
#include <set>

#include "data/audit.h"
#include "engine/io/file.h"
#include "engine/io/utc_now.h"
#include "kernels/error.h"
#include "tools/run/audit_json.h"
#include "tools/run/audit_text.h"
#include "tools/run/evaluation.h"
#include "tools/run/explain_mistakes.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

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

// Lets the best model say something of held-out pictures, which `source` gives in their order, and
// keeps it.
Evaluation evaluate_best(const std::string& set, const model::RunFolder& folder,
                         const Samples& samples, BatchSource& source,
                         const data::Pictures& pictures, const std::string& command,
                         Context& context, Device& device, Observer& observer) {
  const Checkpoint best = Checkpoint::read(folder.best());
  const Advance advance = observer.on_job(
      set == "test" ? "testing the best" : "validating the best", samples.count(), "pictures");
  const int64_t batch = source.tensors().front().shape[0];
  Evaluation evaluation =
      evaluate(best, source, samples.dataset, context, device,
               [&](int64_t batches) { advance(std::min(batches * batch, samples.count())); });
  evaluation.set = set;
  evaluation.model_crc32c = crc32c_of_file(folder.best());
  evaluation.time = utc_now();
  evaluation.command = command;
  add_mistakes(evaluation, pictures, best.info().picture());
  explain_mistakes(evaluation, best, pictures, context, device);
  write_file(evaluation_path(folder.path(), evaluation), evaluation_text(evaluation));
  return evaluation;
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

Json evaluate_test(const model::RunFolder& folder, const RunSamples& samples,
                   const Sources& sources, const std::string& command, Context& context,
                   Device& device, Observer& observer) {
  if (samples.test.empty() || !std::filesystem::exists(folder.best())) return nullptr;
  const Preprocess preprocess = Checkpoint::read(folder.best()).info().picture();
  data::LoaderOptions options;
  options.batch = std::min(samples.test.count(), sources.train->tensors().front().shape[0]);
  options.threads = context.pool().threads();
  data::Loader loader(sources.test_pictures, samples.test.dataset.labels(),
                      data::sequential_sampler(samples.test.count(), options.batch), preprocess,
                      options);
  const Evaluation evaluation =
      evaluate_best("test", folder, samples.test, loader, *sources.test_pictures, command, context,
                    device, observer);
  const Measured measured = measure(evaluation);
  const bool two = evaluation.two_classes();
  observer.on_note("test: accuracy " + fixed(measured.scores.accuracy, 4) +
                   (two ? ", F1 of " + evaluation.positive() + " " + fixed(measured.scores.f1, 4)
                        : ", macro F1 " + fixed(measured.scores.macro.f1, 4)) +
                   " on " + counted(samples.test.count(), "picture", "pictures") +
                   " that nothing was trained or chosen on");
  return numbers_json(evaluation);
}

void evaluate_validation(const model::RunFolder& folder, const RunSamples& samples,
                         const Sources& sources, const std::string& command, Context& context,
                         Device& device, Observer& observer) {
  if (!sources.validation || !std::filesystem::exists(folder.best())) return;
  evaluate_best("validation", folder, samples.validation, *sources.validation,
                *sources.validation_pictures, command, context, device, observer);
}

Json data_json(const RunSamples& samples, const Sources& sources, Context& context,
               Observer& observer) {
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
  if (!samples.test.empty()) {
    folder.test = samples.test.dataset;
    folder.test->folder = "test";
    scenes.push_back(scene_counts(*folder.test));
  }
  std::vector<const data::Pictures*> pictures;  // by part
  for (const auto& part :
       {sources.train_pictures, sources.validation_pictures, sources.test_pictures})
    if (part) pictures.push_back(part.get());
  const Advance advance = observer.on_job(
      "looking the pictures over",
      samples.train.count() + samples.validation.count() + samples.test.count(), "pictures");
  const data::Audit audit = data::audit_pictures(
      folder,
      [&](size_t part, int64_t sample) { return data::picture_of(*pictures[part], sample); },
      context.pool(),
      [&](int64_t done, int64_t) {
        stop_if_cancelled(context);
        advance(done);
      });
  for (const std::string& warning : training_warnings(audit)) observer.on_note(warning);
  const std::string& path = samples.train.dataset.folder;
  return {{"folder", path}, {"scenes", scenes}, {"check", audit_json(audit, path)}};
}

}  // namespace fulmar::tools
