#include "tools/run/train_data.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "data/packed_cache.h"
#include "data/raster_folder.h"
#include "data/statistics.h"
#include "engine/picture/geometry.h"
#include "kernels/error.h"
#include "tools/run/audit_text.h"
#include "tools/run/patches.h"
#include "tools/run/picture_notes.h"
#include "tools/run/results.h"
#include "tools/run/text.h"

namespace fulmar::tools {
namespace {

std::vector<std::string> paths_of(const data::Dataset& dataset) {
  std::vector<std::string> paths;
  for (const data::Sample& sample : dataset.samples) paths.push_back(sample.path);
  return paths;
}

data::PictureOptions picture_options(const TrainConfig& config, const TrainRuntime& runtime) {
  data::PictureOptions options;
  options.bands = config.channels.value_or(0);
  options.band_files = config.band_files();
  options.limits = image_limits(runtime.max_pixels);
  options.cache_folder = runtime.cache_folder;
  return options;
}

// What a loader would refuse is refused here, before anything is decoded.
void probe(Samples& samples, const TrainConfig& config, const TrainRuntime& runtime,
           Context& context) {
  if (samples.empty()) return;
  const std::vector<std::string> paths = paths_of(samples.dataset);
  samples.headers = data::probe_pictures(paths, picture_options(config, runtime), context.pool(),
                                         [&](int64_t, int64_t) { stop_if_cancelled(context); });
  const Preprocess preprocess = config.preprocess(samples.type());
  for (size_t i = 0; i < paths.size(); i++) {
    const data::ImageHeader& header = samples.headers[i];
    const std::string reason = misfit(preprocess, header.height, header.width);
    if (!reason.empty()) file_error(paths[i] + ": " + reason);
  }
}

// What the pictures' files hold: read, but for what is known of them and their file systems vouch
// for. Other trainings with the cache folder may have left what they know.
data::FileDigests digest(const RunSamples& samples, const TrainConfig& config,
                         const TrainRuntime& runtime, data::FileDigests known, Context& context,
                         Observer& observer) {
  std::vector<std::string> files;
  for (const Samples* part : {&samples.train, &samples.validation})
    for (const data::Sample& sample : part->dataset.samples)
      for (std::string& file : config.band_files().files_of(sample.path))
        files.push_back(std::move(file));
  for (const Samples* part : {&samples.train, &samples.validation})
    for (const data::Sample& sample : part->dataset.samples)
      files.insert(files.end(), sample.label_files.begin(), sample.label_files.end());
  std::sort(files.begin(), files.end());  // charts lie in the scenes' own files
  files.erase(std::unique(files.begin(), files.end()), files.end());
  if (!runtime.cache_folder.empty()) {
    const data::FileDigests kept = data::read_cached_digests(runtime.cache_folder);
    known.insert(kept.begin(), kept.end());
  }
  const Advance advance = observer.on_job("reading", std::ssize(files), "files");
  return data::digest_files(files, known, context.pool(), [&](int64_t done, int64_t) {
    stop_if_cancelled(context);
    advance(done);
  });
}

std::shared_ptr<const data::Pictures> decode(const Samples& samples,
                                             const data::FileDigests& digests, bool in_memory,
                                             const TrainConfig& config, const TrainRuntime& runtime,
                                             Context& context, Observer& observer) {
  data::PictureOptions options = picture_options(config, runtime);
  // A cache file is written whole. Without one the loader's threads decode while others train.
  options.when_wanted = options.cache_folder.empty();
  const Advance advance =
      options.when_wanted ? Advance() : observer.on_job("decoding", samples.count(), "pictures");
  options.memory_bytes = in_memory ? samples.bytes() : 0;
  options.digests = &digests;
  options.progress = [&](int64_t done, int64_t) {
    stop_if_cancelled(context);
    advance(done);
  };
  return data::open_pictures(paths_of(samples.dataset), samples.headers, options, context.pool());
}

// What is left of other trainings in a cache folder takes room that nobody may know of.
void tell_other_cache_files(const std::string& folder, const Sources& sources, Observer& observer) {
  int64_t others = 0;
  uint64_t bytes = 0;
  for (const std::string& file : data::cache_files(folder)) {
    const auto is_used = [&](const auto& pictures) {
      return pictures && pictures->cache_file() == file;
    };
    if (is_used(sources.train_pictures) || is_used(sources.validation_pictures)) continue;
    std::error_code gone;
    const uint64_t size = std::filesystem::file_size(file, gone);
    if (gone) continue;
    others++;
    bytes += size;
  }
  if (others > 0)
    observer.on_note(folder + " also holds " + std::to_string(others) +
                     (others == 1 ? " file" : " files") + " (*.fulmarpack, " +
                     readable_bytes(bytes) +
                     ") of other pictures or older versions: remove what no training needs");
}

}  // namespace

uint64_t Samples::bytes() const {
  uint64_t sum = 0;
  for (const data::ImageHeader& header : headers) sum += static_cast<uint64_t>(header.bytes());
  return sum;
}

uint64_t Samples::batch_bytes(int64_t batch) const {
  data::ImageHeader largest;
  for (const data::ImageHeader& header : headers) {
    largest.height = std::max(largest.height, header.height);
    largest.width = std::max(largest.width, header.width);
    largest.bands = header.bands;
    largest.type = header.type;
  }
  return static_cast<uint64_t>(largest.bytes()) * static_cast<uint64_t>(batch);
}

namespace {

// Keras' loaders, and so the published network, make RGB of grey; a raster stays what it is.
void choose_channels(Samples& samples, TrainConfig& config) {
  if (config.channels) return;
  const data::ImageHeader& first = samples.headers.front();
  const bool picture =
      first.type != DType::f32 && data::can_have_channels(first, 3) && !config.by_pixel();
  config.channels = picture ? 3 : first.bands;
  for (data::ImageHeader& header : samples.headers) header.bands = *config.channels;
}

// One nodata value for both parts; probing saw to it that each has one.
void agree_on_nodata(RunSamples& samples, TrainConfig& config) {
  config.nodata = samples.train.nodata();
  if (samples.validation.empty() || samples.validation.nodata() == config.nodata) return;
  const std::optional<double> other = samples.validation.nodata();
  if (config.nodata.value_or(0) != 0 || other.value_or(0) != 0)
    file_error(samples.validation.dataset.folder +
               ": some of the pictures have a nodata value and others none or another; convert "
               "them to one");
  config.nodata = 0;
  for (Samples* part : {&samples.train, &samples.validation})
    for (data::ImageHeader& header : part->headers) header.nodata = 0;
}

std::vector<data::BandStatistics> measure(const Samples& samples, const data::FileDigests& digests,
                                          const TrainConfig& config, const TrainRuntime& runtime,
                                          Context& context, Observer& observer) {
  data::PictureOptions options = picture_options(config, runtime);
  options.once = runtime.cache_folder.empty();  // a cache is made once and for all
  options.digests = &digests;
  const Advance advance = observer.on_job("measuring", samples.count(), "pictures");
  const auto told = [&](int64_t done, int64_t) {
    stop_if_cancelled(context);
    advance(done);
  };
  const auto pictures =
      data::open_pictures(paths_of(samples.dataset), samples.headers, options, context.pool());
  std::vector<data::BandStatistics> bands = data::measure_bands(*pictures, context.pool(), told);
  for (size_t band = 0; band < bands.size(); band++)
    if (bands[band].valid == 0)
      file_error(samples.dataset.folder + ": no training picture has a valid pixel in band " +
                 std::to_string(band + 1) + "; is the nodata value right?");
  return bands;
}

// Pictures that were stretched over 16 bits fill the upper half too. A detector's or a radar's own
// numbers don't, but for a few bright targets, which may be 65535: so 1 % must be there.
bool uses_16_bits(const std::vector<data::BandStatistics>& bands) {
  return std::any_of(bands.begin(), bands.end(), [](const data::BandStatistics& band) {
    return 100 * band.upper >= band.valid;
  });
}

// Float pictures, and those that leave most of 16 bits empty, have no customary range: each band
// gets mean 0 and standard deviation 1 over the pixels of the training pictures that were measured.
void choose_scale(const Samples& samples, const data::FileDigests& digests, TrainConfig& config,
                  const TrainRuntime& runtime, Context& context, Observer& observer) {
  if (samples.type() == DType::u8 || config.range || config.band_mean) return;
  // Scenes that are ready to train are normalised, and masked pixels are 0.
  if (!config.band_files().of_scenes().empty()) {
    config.band_mean = std::vector<double>(static_cast<size_t>(*config.channels), 0);
    config.band_deviation = std::vector<double>(static_cast<size_t>(*config.channels), 1);
    return;
  }
  const auto bands = measure(samples, digests, config, runtime, context, observer);
  const bool integers = samples.type() == DType::u16;
  if (integers && uses_16_bits(bands)) {
    config.range = {0, 65535};
    observer.on_note(
        "the pictures use their 16 bits: 0 and 65535 become 0 and 1 (--range chooses)");
    return;
  }
  config.band_mean.emplace();
  config.band_deviation.emplace();
  for (const data::BandStatistics& band : bands) {
    config.band_mean->push_back(band.mean);
    config.band_deviation->push_back(band.deviation > 0 ? band.deviation : 1);
    // Bands that were made of one grey one are told of once.
    const bool first = config.band_mean->size() == 1;
    if (!first && band.mean == bands[0].mean && band.deviation == bands[0].deviation) continue;
    observer.on_note(
        "band " + std::to_string(config.band_mean->size()) +
        (integers ? " uses little of its 16 bits" : "") + ": mean " + fixed(band.mean, 4) +
        ", standard deviation " + fixed(band.deviation, 4) + " over the " +
        fixed(100 * static_cast<double>(band.valid) / static_cast<double>(band.pixels), 1) +
        " % of the training pixels that are valid; they become 0 and 1" +
        (integers ? " (--range chooses)" : ""));
  }
}

// Holds the share out that is to be looked at once, at the end.
void choose_test(RunSamples& samples, data::Folder& folder, const TrainConfig& config,
                 Observer& observer) {
  if (config.test == 0) return;
  if (!folder.test_folder.empty())
    usage_error(folder.test_folder + ": a test part already: leave --test out, and evaluate the " +
                "model on it with 'fulmar eval'");
  data::Split split =
      data::split_dataset(folder.train, config.test, static_cast<uint64_t>(config.split_seed));
  if (const std::string missed = data::missed_share(split, config.test); !missed.empty())
    observer.on_note("--test: " + missed);
  folder.train = std::move(split.train);
  samples.test.dataset = std::move(split.held_out);
}

// Takes the validation part of the folder, or holds the share out that is asked for.
void choose_validation(RunSamples& samples, data::Folder& folder, TrainConfig& config,
                       Observer& observer) {
  const std::string own =
      folder.validation ? std::filesystem::path(folder.validation->folder).filename().string() : "";
  if (config.validation_part.value_or(own) != own)
    file_error(config.dataset + "/" + *config.validation_part +
               ": no longer there, and this run validates on it; put it back, or train into "
               "another folder");
  samples.train.dataset = std::move(folder.train);
  if (folder.validation && !config.validation) {
    config.validation_part = own;
    samples.validation.dataset = std::move(*folder.validation);
    return;
  }
  config.validation = config.validation.value_or(0);
  if (folder.validation)
    observer.on_note(folder.validation->folder +
                     ": left out, as --validation says what is validated on");
  if (*config.validation == 0) return;
  data::Split split = data::split_dataset(samples.train.dataset, *config.validation,
                                          static_cast<uint64_t>(config.split_seed));
  if (const std::string missed = data::missed_share(split, *config.validation); !missed.empty())
    observer.on_note("--validation: " + missed);
  samples.train.dataset = std::move(split.train);
  samples.validation.dataset = std::move(split.held_out);
}

// How many scenes there are, and on which side.
void note_scenes(const RunSamples& samples, Observer& observer) {
  std::string text = data::describe_scenes(samples.train.dataset) + " to train on";
  if (!samples.validation.empty())
    text += "; " + data::describe_scenes(samples.validation.dataset) + " to validate on" +
            (samples.validation.dataset.folder == samples.train.dataset.folder
                 ? ""
                 : " (" + samples.validation.dataset.folder + ")");
  if (!samples.test.empty())
    text += "; " + data::describe_scenes(samples.test.dataset) + " held out to test on (" +
            counted(samples.test.count(), "picture", "pictures") + ")";
  observer.on_note(text);
}

void note_remarks(const RunSamples& samples, Observer& observer) {
  PictureNotes notes;
  for (const Samples* part : {&samples.train, &samples.validation, &samples.test})
    for (size_t i = 0; i < part->headers.size(); i++)
      notes.add(part->dataset.samples[i].path, part->headers[i], nullptr);
  for (const std::string& text : notes.lines()) observer.on_note(text);
}

}  // namespace

data::Folder scan_training(const TrainConfig& config) {
  const data::SceneRule rule = data::scene_rule_named(config.scenes);
  if (!config.by_pixel()) return data::scan_folder(config.dataset, rule, config.band_files());
  return data::scan_rasters(config.dataset, data::LabelFiles::parse(*config.labels),
                            config.pictures.value_or(""), rule, config.band_files());
}

namespace {

// What headers and names of files tell.
RunSamples find_pictures(TrainConfig& config, const TrainRuntime& runtime, Context& context,
                         Observer& observer) {
  if (!config.band_files().of_scenes().empty() && !runtime.cache_folder.empty())
    usage_error(
        "--cache: scenes in NetCDF are read in parts where they don't fit --memory; no "
        "cache is made of them");
  data::Folder folder = scan_training(config);
  for (const std::string& text : left_out_notes(folder)) observer.on_note(text);
  for (const std::string& text : folder.notes) observer.on_note(text);
  RunSamples samples;
  samples.left_out = folder;
  samples.notes = folder.notes;
  choose_test(samples, folder, config, observer);
  choose_validation(samples, folder, config, observer);
  note_scenes(samples, observer);
  probe(samples.train, config, runtime, context);
  choose_channels(samples.train, config);
  probe(samples.validation, config, runtime, context);
  probe(samples.test, config, runtime, context);
  for (const Samples* part : {&samples.validation, &samples.test})
    if (!part->empty() && part->type() != samples.train.type())
      file_error(part->dataset.samples[0].path + ": its values are of type " +
                 name_of(part->type()) + ", those of " + samples.train.dataset.samples[0].path +
                 " " + name_of(samples.train.type()) + "; convert the pictures to one type");
  agree_on_nodata(samples, config);
  note_remarks(samples, observer);
  return samples;
}

}  // namespace

RunSamples find_samples(TrainConfig& config, const TrainRuntime& runtime,
                        const data::FileDigests& known, Context& context, Observer& observer) {
  RunSamples samples = find_pictures(config, runtime, context, observer);
  samples.digests = digest(samples, config, runtime, known, context, observer);
  choose_scale(samples.train, samples.digests, config, runtime, context, observer);
  if (config.by_pixel()) choose_patches(config, samples, runtime, context, observer);
  return samples;
}

RunSamples look_at_samples(TrainConfig& config, const TrainRuntime& runtime, Context& context) {
  Observer silent;
  RunSamples samples = find_pictures(config, runtime, context, silent);
  if (config.by_pixel()) choose_patches(config, samples, runtime, context, silent);
  return samples;
}

bool Sources::dropped_alpha() const {
  return train_pictures->dropped_alpha() > 0 ||
         (validation_pictures && validation_pictures->dropped_alpha() > 0);
}

int64_t Sources::decoded() const {
  return train_pictures->decoded() + (validation_pictures ? validation_pictures->decoded() : 0);
}

data::LoaderOptions loader_options(const TrainConfig& config, const TrainRuntime& runtime,
                                   int threads) {
  data::LoaderOptions options;
  options.batch = config.batch;
  options.threads = static_cast<int>(runtime.loader_threads.value_or(threads));
  options.seed = static_cast<uint64_t>(config.seed);
  return options;
}

namespace {

std::unique_ptr<data::Sampler> training_sampler(const data::Dataset& dataset,
                                                const TrainConfig& config) {
  const auto seed = static_cast<uint64_t>(config.seed);
  if (config.sampling == "balanced")
    return data::balanced_sampler(dataset.labels(), static_cast<int64_t>(dataset.classes.size()),
                                  config.batch, seed);
  return data::shuffled_sampler(static_cast<int64_t>(dataset.samples.size()), config.batch, seed);
}

}  // namespace

int64_t batches_per_epoch(const RunSamples& samples, const TrainConfig& config) {
  if (config.by_pixel()) return config.epoch_batches.value_or(1);
  return training_sampler(samples.train.dataset, config)->batches_per_epoch();
}

uint64_t batches_bytes(const RunSamples& samples, const TrainConfig& config) {
  if (!config.by_pixel())
    return samples.train.batch_bytes(config.batch) + samples.validation.batch_bytes(config.batch);
  const uint64_t train = patch_batch_bytes(config, samples.train, true);
  return samples.validation.empty() ? train
                                    : train + patch_batch_bytes(config, samples.validation, false);
}

InMemory kept_in_memory(const RunSamples& samples, const TrainRuntime& runtime) {
  if (!runtime.cache_folder.empty()) return {};
  const auto fits = [&](uint64_t bytes) {
    return static_cast<double>(bytes) <= runtime.memory_gb * 1e9;
  };
  InMemory kept;
  kept.train = fits(samples.train.bytes());
  kept.validation = !samples.validation.empty() &&
                    fits(samples.validation.bytes() + (kept.train ? samples.train.bytes() : 0));
  return kept;
}

Sources open_sources(const RunSamples& samples, const TrainConfig& config,
                     const TrainRuntime& runtime, Context& context, Observer& observer) {
  const InMemory kept = kept_in_memory(samples, runtime);
  const Preprocess preprocess = config.preprocess(samples.train.type());
  Sources s;
  data::LoaderOptions options = loader_options(config, runtime, context.pool().threads());
  s.train_pictures =
      decode(samples.train, samples.digests, kept.train, config, runtime, context, observer);
  if (!samples.validation.empty())
    s.validation_pictures = decode(samples.validation, samples.digests, kept.validation, config,
                                   runtime, context, observer);
  if (config.by_pixel()) {
    s.train = patches_of(samples.train, s.train_pictures, true, config, runtime, context);
    if (!samples.validation.empty())
      s.validation =
          patches_of(samples.validation, s.validation_pictures, false, config, runtime, context);
  } else if (!samples.validation.empty()) {
    s.validation = std::make_unique<data::Loader>(
        s.validation_pictures, samples.validation.dataset.labels(),
        data::sequential_sampler(samples.validation.count(), config.batch), preprocess, options);
  }
  if (!samples.test.empty()) {
    data::PictureOptions once = picture_options(config, runtime);
    once.cache_folder.clear();
    once.once = true;
    s.test_pictures = data::open_pictures(paths_of(samples.test.dataset), samples.test.headers,
                                          once, context.pool());
  }
  if (!runtime.cache_folder.empty()) {
    data::keep_cached_digests(runtime.cache_folder, samples.digests);
    tell_other_cache_files(runtime.cache_folder, s, observer);
  }
  if (config.by_pixel()) return s;
  options.augment = config.augmentation();
  s.train = std::make_unique<data::Loader>(s.train_pictures, samples.train.dataset.labels(),
                                           training_sampler(samples.train.dataset, config),
                                           preprocess, options);
  return s;
}

}  // namespace fulmar::tools
