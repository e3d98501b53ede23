#include "data/pictures.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "data/packed_cache.h"
#include "data/picture_errors.h"
#include "kernels/error.h"

namespace fulmar::data {

int64_t Pictures::max_height() const {
  int64_t largest = 0;
  for (const ImageHeader& header : headers_) largest = std::max(largest, header.height);
  return largest;
}

int64_t Pictures::max_width() const {
  int64_t largest = 0;
  for (const ImageHeader& header : headers_) largest = std::max(largest, header.width);
  return largest;
}

WarpSample Pictures::centre(int64_t picture, const Preprocess& preprocess) const {
  return centre_sample(preprocess, header(picture).height, header(picture).width);
}

void Pictures::copy_rows(int64_t picture, const uint8_t* from, uint8_t* to,
                         int64_t row_bytes) const {
  const ImageHeader& h = header(picture);
  const int64_t own = h.bytes() / h.height;
  for (int64_t row = 0; row < h.height; row++)
    std::memcpy(to + row * row_bytes, from + row * own, static_cast<size_t>(own));
}

void Pictures::copy_area(int64_t picture, const uint8_t* from, const Area& area, uint8_t* to,
                         int64_t row_bytes) const {
  const ImageHeader& h = header(picture);
  const int64_t pixel = h.bands * static_cast<int64_t>(size_of(h.type));
  for (int64_t row = 0; row < area.height; row++)
    std::memcpy(to + row * row_bytes, from + ((area.top + row) * h.width + area.left) * pixel,
                static_cast<size_t>(area.width * pixel));
}

void Pictures::copy_part(int64_t picture, const Area& area, uint8_t* to, int64_t row_bytes) const {
  const Image whole = picture_of(*this, picture);
  copy_area(picture, whole.data.data(), area, to, row_bytes);
}

Area intersection(const Area& a, const Area& b) {
  const int64_t top = std::max(a.top, b.top), left = std::max(a.left, b.left);
  return {top, left, std::min(a.top + a.height, b.top + b.height) - top,
          std::min(a.left + a.width, b.left + b.width) - left};
}

namespace {

Image read_with_bands(const std::string& path, const ImageHeader& expected, const BandFiles& files,
                      const ImageLimits& limits, const PicturePart& part = {}) {
  Image image = read_sample(path, files, limits, part);
  if (can_have_channels(image, expected.bands))
    image = with_channels(std::move(image), expected.bands);
  if (image.height != expected.height || image.width != expected.width ||
      image.bands != expected.bands || image.type != expected.type)
    file_error(path + ": the picture changed while it was in use; start again");
  return image;
}

class FilePictures : public Pictures {
 public:
  FilePictures(std::vector<std::string> paths, std::vector<ImageHeader> headers,
               const PictureOptions& options)
      : Pictures(std::move(paths), std::move(headers)),
        files_(options.band_files),
        limits_(options.limits) {}

  void copy(int64_t picture, uint8_t* to, int64_t row_bytes) const override {
    const Image image = read_with_bands(path(picture), header(picture), files_, limits_);
    decoded_++;
    dropped_alpha_ += image.dropped_alpha;
    copy_rows(picture, image.data.data(), to, row_bytes);
  }
  void copy_part(int64_t picture, const Area& area, uint8_t* to, int64_t row_bytes) const override {
    ImageHeader expected = header(picture);
    expected.height = area.height;
    expected.width = area.width;
    const Image image = read_with_bands(path(picture), expected, files_, limits_,
                                        window(area.top, area.left, area.height, area.width));
    decoded_++;
    dropped_alpha_ += image.dropped_alpha;
    const int64_t own = image.bytes() / image.height;
    for (int64_t row = 0; row < area.height; row++)
      std::memcpy(to + row * row_bytes, image.data.data() + row * own, static_cast<size_t>(own));
  }
  const char* source() const override { return "files"; }
  int64_t decoded() const override { return decoded_; }
  int64_t dropped_alpha() const override { return dropped_alpha_; }

 private:
  BandFiles files_;
  ImageLimits limits_;
  mutable std::atomic<int64_t> decoded_{0}, dropped_alpha_{0};
};

// Of each picture what a network sees of it.
class CentrePictures : public Pictures {
 public:
  using Extents = std::pair<int64_t, int64_t>;  // height, width
  using Parts = std::map<Extents, CentrePart>;

  CentrePictures(std::vector<std::string> paths, const std::vector<ImageHeader>& headers,
                 const PictureOptions& options)
      : CentrePictures(std::move(paths), headers, options, parts_of(headers, *options.centre_of)) {}

  void copy(int64_t picture, uint8_t* to, int64_t row_bytes) const override {
    const CentrePart& part = part_of(picture);
    const Image image =
        read_with_bands(path(picture), header(picture), files_, limits_, {part.rows, part.columns});
    decoded_++;
    dropped_alpha_ += image.dropped_alpha;
    copy_rows(picture, image.data.data(), to, row_bytes);
  }
  WarpSample centre(int64_t picture, const Preprocess&) const override {
    return part_of(picture).sample;
  }
  const char* source() const override { return "files"; }
  int64_t decoded() const override { return decoded_; }
  int64_t dropped_alpha() const override { return dropped_alpha_; }

 private:
  CentrePictures(std::vector<std::string> paths, const std::vector<ImageHeader>& headers,
                 const PictureOptions& options, Parts parts)
      : Pictures(std::move(paths), headers_of(headers, parts)),
        files_(options.band_files),
        limits_(options.limits),
        parts_(std::move(parts)) {
    for (const ImageHeader& header : headers) extents_.emplace_back(header.height, header.width);
  }

  static Parts parts_of(const std::vector<ImageHeader>& headers, const Preprocess& preprocess) {
    Parts parts;
    for (const ImageHeader& header : headers) {
      const Extents extents{header.height, header.width};
      if (parts.find(extents) == parts.end())
        parts.emplace(extents, centre_part(preprocess, header.height, header.width));
    }
    return parts;
  }
  static std::vector<ImageHeader> headers_of(std::vector<ImageHeader> headers, const Parts& parts) {
    for (ImageHeader& header : headers) {
      const CentrePart& part = parts.at({header.height, header.width});
      header.height = std::ssize(part.rows);
      header.width = std::ssize(part.columns);
    }
    return headers;
  }
  const CentrePart& part_of(int64_t picture) const {
    return parts_.at(extents_[static_cast<size_t>(picture)]);
  }

  BandFiles files_;
  ImageLimits limits_;
  Parts parts_;
  std::vector<Extents> extents_;  // of the whole pictures
  mutable std::atomic<int64_t> decoded_{0}, dropped_alpha_{0};
};

class MemoryPictures : public Pictures {
 public:
  MemoryPictures(std::vector<std::string> paths, std::vector<ImageHeader> headers,
                 const PictureOptions& options, ThreadPool& pool)
      : Pictures(std::move(paths), std::move(headers)),
        files_(options.band_files),
        limits_(options.limits),
        kept_(static_cast<size_t>(count())) {
    if (!options.when_wanted)
      throw_first(for_each_picture(
          pool, count(), [&](int64_t picture) { data(picture); }, options.progress));
  }

  void copy(int64_t picture, uint8_t* to, int64_t row_bytes) const override {
    copy_rows(picture, data(picture), to, row_bytes);
  }
  void copy_part(int64_t picture, const Area& area, uint8_t* to, int64_t row_bytes) const override {
    copy_area(picture, data(picture), area, to, row_bytes);
  }
  void decode_ahead(int64_t picture) const override { data(picture); }
  const char* source() const override { return "memory"; }
  int64_t decoded() const override { return decoded_; }
  int64_t dropped_alpha() const override { return dropped_alpha_; }

 private:
  struct Kept {
    std::mutex mutex;  // who wants a picture that another thread decodes waits for it
    std::vector<uint8_t> data;
  };

  const uint8_t* data(int64_t picture) const {
    Kept& kept = kept_[static_cast<size_t>(picture)];
    const std::lock_guard lock(kept.mutex);
    if (kept.data.empty()) {
      Image image = read_with_bands(path(picture), header(picture), files_, limits_);
      decoded_++;
      dropped_alpha_ += image.dropped_alpha;
      kept.data = std::move(image.data);
    }
    return kept.data.data();
  }

  BandFiles files_;
  ImageLimits limits_;
  mutable std::vector<Kept> kept_;
  mutable std::atomic<int64_t> decoded_{0}, dropped_alpha_{0};
};

class CachedPictures : public Pictures {
 public:
  CachedPictures(std::vector<std::string> paths, std::vector<ImageHeader> headers,
                 const PictureOptions& options, ThreadPool& pool)
      : Pictures(std::move(paths), std::move(headers)) {
    std::vector<PackedPicture> pictures;
    for (int64_t i = 0; i < count(); i++)
      pictures.push_back({options.band_files.files_of(path(i)), header(i)});
    const auto decode = [&](int64_t picture) {
      decoded_++;
      return read_with_bands(path(picture), header(picture), options.band_files, options.limits);
    };
    cache_ = PackedCache::open_or_build(options.cache_folder, pictures,
                                        options.digests ? *options.digests : FileDigests{}, decode,
                                        pool, options.progress);
  }

  void copy(int64_t picture, uint8_t* to, int64_t row_bytes) const override {
    copy_rows(picture, cache_.picture(picture), to, row_bytes);
  }
  void copy_part(int64_t picture, const Area& area, uint8_t* to, int64_t row_bytes) const override {
    copy_area(picture, cache_.picture(picture), area, to, row_bytes);
  }
  const char* source() const override { return "cache"; }
  std::string cache_file() const override { return cache_.path(); }
  int64_t decoded() const override { return decoded_; }
  int64_t dropped_alpha() const override { return cache_.dropped_alpha(); }

 private:
  PackedCache cache_;
  std::atomic<int64_t> decoded_{0};
};

std::string nodata_text(const ImageHeader& header) {
  return header.nodata ? "the nodata value " + std::to_string(std::llround(*header.nodata))
                       : std::string("no nodata value");
}

std::string bands_text(const ImageHeader& header) {
  return std::to_string(header.bands) + (header.bands == 1 ? " band" : " bands");
}

// Why a picture doesn't go with the first one; empty where it does.
std::string misfit_of(const ImageHeader& header, const ImageHeader& first,
                      const std::string& first_path, int64_t bands) {
  if (header.type != first.type)
    return std::string("its values are of type ") + name_of(header.type) + ", those of " +
           first_path + " " + name_of(first.type) + "; convert the pictures to one type";
  if (!can_have_channels(header, bands))
    return "it has " + bands_text(header) + ", not " + std::to_string(bands) +
           "; take pictures of one kind, or say with --bands which files go together";
  // Black is black, whether a file calls it nodata or not.
  if (header.nodata.value_or(0) != first.nodata.value_or(0))
    return "it has " + nodata_text(header) + ", and " + first_path + " has " + nodata_text(first) +
           "; convert the pictures to one";
  return "";
}

}  // namespace

std::string kind_misfit(const Preprocess& preprocess, const ImageHeader& header) {
  if (header.type != preprocess.type)
    return std::string("its values are of type ") + name_of(header.type) + ", the model takes " +
           name_of(preprocess.type) + "; convert the pictures";
  if (!can_have_channels(header, preprocess.bands))
    return "it has " + bands_text(header) + ", the model takes " +
           std::to_string(preprocess.bands) +
           "; take other pictures, or say with --bands which files go together";
  const bool reads_as_fill =
      header.nodata && std::all_of(preprocess.fill.begin(), preprocess.fill.end(),
                                   [&](double fill) { return fill == *header.nodata; });
  if (header.nodata && header.nodata != preprocess.nodata && !reads_as_fill)
    return "it has " + nodata_text(header) +
           ", which the model doesn't take for missing; convert the pictures to those it was "
           "trained on";
  return "";
}

Image picture_of(const Pictures& pictures, int64_t picture) {
  Image image;
  static_cast<ImageHeader&>(image) = pictures.header(picture);
  image.data.resize(static_cast<size_t>(image.bytes()));
  pictures.copy(picture, image.data.data(), image.bytes() / image.height);
  return image;
}

std::vector<ImageHeader> probe_pictures(const std::vector<std::string>& paths,
                                        const PictureOptions& options, ThreadPool& pool,
                                        const Progress& progress) {
  if (paths.empty()) usage_error("there are no pictures to open");
  std::vector<ImageHeader> headers(paths.size());
  throw_first(for_each_picture(
      pool, static_cast<int64_t>(paths.size()),
      [&](int64_t picture) {
        const auto i = static_cast<size_t>(picture);
        headers[i] = probe_sample(paths[i], options.band_files, options.limits);
      },
      progress));
  PictureErrors misfits;
  const int64_t bands = options.bands > 0 ? options.bands : headers[0].bands;
  std::optional<double> nodata;
  for (size_t i = 0; i < headers.size(); i++) {
    const std::string reason = misfit_of(headers[i], headers[0], paths[0], bands);
    if (!reason.empty()) misfits[static_cast<int64_t>(i)] = paths[i] + ": " + reason;
    if (headers[i].nodata) nodata = headers[i].nodata;
  }
  throw_first(misfits);
  for (ImageHeader& header : headers) {
    header.bands = bands;
    header.nodata = nodata;
  }
  return headers;
}

std::unique_ptr<Pictures> open_pictures(std::vector<std::string> paths,
                                        const PictureOptions& options, ThreadPool& pool) {
  std::vector<ImageHeader> headers = probe_pictures(paths, options, pool);
  return open_pictures(std::move(paths), std::move(headers), options, pool);
}

std::unique_ptr<Pictures> open_pictures(std::vector<std::string> paths,
                                        std::vector<ImageHeader> headers,
                                        const PictureOptions& options, ThreadPool& pool) {
  if (options.once && options.centre_of) {
    for (size_t i = 0; i < headers.size(); i++) {
      const std::string reason = misfit(*options.centre_of, headers[i].height, headers[i].width);
      if (!reason.empty()) file_error(paths[i] + ": " + reason);
    }
    return std::make_unique<CentrePictures>(std::move(paths), headers, options);
  }
  uint64_t bytes = 0;
  for (const ImageHeader& header : headers) bytes += static_cast<uint64_t>(header.bytes());
  if (!options.once && !options.cache_folder.empty())
    return std::make_unique<CachedPictures>(std::move(paths), std::move(headers), options, pool);
  if (!options.once && bytes <= options.memory_bytes)
    return std::make_unique<MemoryPictures>(std::move(paths), std::move(headers), options, pool);
  return std::make_unique<FilePictures>(std::move(paths), std::move(headers), options);
}

}  // namespace fulmar::data
