#include "tools/run/evaluate_pictures.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "model/tasks/classification.h"
#include "tools/run/explain_mistakes.h"
#include "tools/run/memory.h"
#include "tools/run/picture_notes.h"
#include "tools/run/results.h"

namespace fulmar::tools {
namespace {

// Batches of pictures as large as they are read, for which there must be memory.
data::LoaderOptions loading_of(const data::Pictures& pictures, const EvaluateOptions& options,
                               const Preprocess& preprocess, int threads) {
  constexpr int64_t usual_bytes = int64_t{512} << 20;  // of a batch
  const int64_t largest = pictures.max_height() * pictures.max_width() * pictures.bands() *
                          static_cast<int64_t>(size_of(pictures.type()));
  data::LoaderOptions loading;
  loading.batch = options.batch;
  if (loading.batch == 0)
    loading.batch = std::clamp<int64_t>(usual_bytes / largest, 1, customary_batch(preprocess));
  loading.batch = std::min(loading.batch, pictures.count());
  loading.threads = threads;
  // Batches ahead, one in the network, and a picture in each thread.
  const double held = static_cast<double>((loading.slots() + 1) * loading.batch + threads) *
                      static_cast<double>(largest);
  require_memory(held, "evaluating with batches of " + std::to_string(loading.batch) + " pictures",
                 "use a smaller --batch, fewer --threads, or smaller pictures");
  return loading;
}

std::vector<std::string> paths_of(const data::Dataset& dataset) {
  std::vector<std::string> paths;
  for (const data::Sample& sample : dataset.samples) paths.push_back(sample.path);
  return paths;
}

// Whole pictures, for one pass over them.
data::PictureOptions whole_pictures(const data::Dataset& dataset, const Preprocess& preprocess,
                                    const EvaluateOptions& options) {
  data::PictureOptions pictures;
  pictures.bands = preprocess.bands;
  pictures.limits = image_limits(options.max_pixels);
  pictures.once = true;
  pictures.band_files = dataset.bands;
  return pictures;
}

}  // namespace

std::unique_ptr<data::Pictures> open_whole_pictures(const data::Dataset& dataset,
                                                    const Preprocess& preprocess,
                                                    const EvaluateOptions& options,
                                                    ThreadPool& pool) {
  return data::open_pictures(paths_of(dataset), whole_pictures(dataset, preprocess, options), pool);
}

Evaluation evaluate_pictures(const Checkpoint& checkpoint, const data::Dataset& dataset,
                             const EvaluateOptions& options, Context& context,
                             const std::function<Device&()>& device, Observer& observer) {
  const Preprocess& preprocess = checkpoint.info().picture();
  const std::vector<std::string> paths = paths_of(dataset);
  const data::PictureOptions pictures = whole_pictures(dataset, preprocess, options);
  ThreadPool& pool = context.pool();
  const std::vector<data::ImageHeader> headers = data::probe_pictures(paths, pictures, pool);
  data::PictureOptions seen = pictures;  // what the network sees of them
  seen.centre_of = preprocess;
  const std::shared_ptr<const data::Pictures> opened =
      data::open_pictures(paths, headers, seen, pool);
  PictureNotes notes;
  for (size_t i = 0; i < paths.size(); i++) notes.add(paths[i], headers[i], &preprocess);
  for (const std::string& text : notes.lines()) observer.on_note(text);
  const data::LoaderOptions loading = loading_of(*opened, options, preprocess, pool.threads());
  data::Loader loader(opened, dataset.labels(),
                      data::sequential_sampler(opened->count(), loading.batch), preprocess,
                      loading);
  const Advance advance = observer.on_job("", opened->count(), "images");
  Evaluation evaluation = evaluate(
      checkpoint, loader, dataset, context, device(),
      [&](int64_t batches) { advance(std::min(batches * loading.batch, opened->count())); });
  if (opened->dropped_alpha() > 0) observer.on_note(alpha_note);
  evaluation.threshold = threshold_of(model::classification_of(checkpoint), options.threshold);
  if (options.mistakes) {
    const auto whole = data::open_pictures(paths, headers, pictures, pool);
    add_mistakes(evaluation, *whole, preprocess);
    explain_mistakes(evaluation, checkpoint, *whole, context, device());
  }
  return evaluation;
}

}  // namespace fulmar::tools
