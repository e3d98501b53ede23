#include "data/packed_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <tuple>

#include "data/picture_errors.h"
#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "kernels/fnv1a.h"

namespace fulmar::data {

namespace {

using Json = nlohmann::ordered_json;

constexpr char magic[8] = {'F', 'U', 'L', 'M', 'P', 'A', 'C', 'K'};
constexpr uint32_t version = 1;
constexpr size_t alignment = 64;

struct Suffix {
  uint64_t table_bytes;
  uint32_t table_crc32c, version;
  char magic[8];
};

size_t aligned(size_t at) { return (at + alignment - 1) / alignment * alignment; }

constexpr const char *name_begin = "pictures-", *name_end = ".fulmarpack";

std::string digits_of(uint64_t hash) {
  char digits[17];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
  return digits;
}

// A pack's name: pictures-PLACE-CONTENT.fulmarpack, hashes of the files' paths and of what they
// hold, each with the type and bands that they are packed in.
struct Name {
  std::string place, content;
};

Name name_for(const std::vector<PackedPicture>& pictures, const FileDigests& digests) {
  uint64_t place = fnv1a(""), content = fnv1a("");
  for (const PackedPicture& picture : pictures) {
    const ImageHeader& h = picture.header;
    const std::string format =
        std::string("\n") + name_of(h.type) + " " + std::to_string(h.bands) + "\n";
    std::string paths, contents = std::to_string(h.height) + " " + std::to_string(h.width) + "\n";
    for (const std::string& file : picture.files) {
      const FileDigest& digest = digests.at(file);
      paths += std::filesystem::absolute(file).string() + "\n";
      contents += std::to_string(digest.bytes) + " " + std::to_string(digest.crc32c) + "\n";
    }
    place = fnv1a(paths + format, place);
    content = fnv1a(contents + format, content);
  }
  return {digits_of(place), digits_of(content)};
}

// Names of packs in a folder that begin with one text and end with another.
std::vector<std::string> packs(const std::string& folder, const std::string& begin,
                               const std::string& end) {
  std::vector<std::string> paths;
  std::error_code error;
  std::filesystem::directory_iterator it(folder, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() >= begin.size() + end.size() && name.rfind(begin, 0) == 0 &&
        name.compare(name.size() - end.size(), end.size(), end) == 0)
      paths.push_back(folder + "/" + name);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Digests of all files of the pictures; those that are not known are read.
FileDigests complete(const FileDigests& known, const std::vector<PackedPicture>& pictures,
                     ThreadPool& pool) {
  std::vector<std::string> missing;
  for (const PackedPicture& picture : pictures)
    for (const std::string& file : picture.files)
      if (!known.count(file)) missing.push_back(file);
  FileDigests all = digest_files(missing, {}, pool);
  all.insert(known.begin(), known.end());
  return all;
}

std::string table_of(const std::vector<PackedPicture>& pictures, int64_t dropped_alpha) {
  Json table{{"type", name_of(pictures[0].header.type)},
             {"bands", pictures[0].header.bands},
             {"extents", Json::array()},
             {"dropped_alpha", dropped_alpha}};
  for (const PackedPicture& picture : pictures)
    table["extents"].push_back({picture.header.height, picture.header.width});
  return table.dump();
}

// Where each picture begins, and behind them where the table does.
std::vector<size_t> places(const std::vector<PackedPicture>& pictures) {
  std::vector<size_t> begins;
  size_t at = 0;
  for (const PackedPicture& picture : pictures) {
    begins.push_back(aligned(at));
    at = begins.back() + static_cast<size_t>(picture.header.bytes());
  }
  begins.push_back(at);
  return begins;
}

// Decodes groups of pictures; one thread writes each group in order while the others decode the
// next.
void build(const std::string& path, const std::vector<PackedPicture>& pictures,
           const std::function<Image(int64_t)>& decode, ThreadPool& pool,
           const Progress& progress) {
  AtomicFile file(path);
  const auto count = static_cast<int64_t>(pictures.size());
  const int64_t group = 2 * pool.threads();  // two of them are in memory
  PictureErrors errors;
  std::exception_ptr unwritten;
  int64_t dropped_alpha = 0;
  size_t at = 0;
  std::vector<Image> decoded;
  const auto write_decoded = [&] {
    for (const Image& image : decoded) {
      constexpr uint8_t zeros[alignment] = {};
      file.write(zeros, aligned(at) - at);
      file.write(image.data.data(), image.data.size());
      at = aligned(at) + image.data.size();
      dropped_alpha += image.dropped_alpha;
    }
  };
  for (int64_t first = 0; first < count; first += group) {
    std::vector<Image> images(static_cast<size_t>(std::min(group, count - first)));
    const int64_t size = std::ssize(images);
    const PictureErrors found = for_each_picture(
        pool, size + 1,
        [&](int64_t i) {
          if (i > 0) {
            images[static_cast<size_t>(i - 1)] = decode(first + i - 1);
            return;
          }
          try {  // an error here is the file's, not a picture's
            write_decoded();
          } catch (...) {
            unwritten = std::current_exception();
          }
        },
        [&](int64_t done, int64_t) {
          if (progress && done <= size) progress(first + done, count);
        });
    if (unwritten) std::rethrow_exception(unwritten);
    for (const auto& [i, reason] : found) errors[first + i - 1] = reason;
    decoded = std::move(images);
    if (!errors.empty()) decoded.clear();  // nothing will be kept, but all are looked at
  }
  write_decoded();
  throw_first(errors);
  const std::string table = table_of(pictures, dropped_alpha);
  Suffix suffix{table.size(), crc32c(table.data(), table.size()), version, {}};
  std::memcpy(suffix.magic, magic, sizeof magic);
  file.write(table.data(), table.size());
  file.write(&suffix, sizeof suffix);
  file.commit();
}

// A file mapped for reading, or nothing.
std::pair<uint8_t*, size_t> map_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {nullptr, 0};
  struct stat status {};
  void* map = MAP_FAILED;
  if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
    map = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, file, 0);
  ::close(file);
  if (map == MAP_FAILED) return {nullptr, 0};
  return {static_cast<uint8_t*>(map), static_cast<size_t>(status.st_size)};
}

}  // namespace

bool PackedCache::open(const std::string& path, const std::vector<PackedPicture>& pictures) {
  PackedCache cache;
  std::tie(cache.map_, cache.map_bytes_) = map_file(path);
  cache.path_ = path;
  cache.begins_ = places(pictures);
  const size_t table_at = cache.begins_.back();
  Suffix suffix;
  if (!cache.map_ || cache.map_bytes_ < table_at + sizeof suffix) return false;
  const size_t table_bytes = cache.map_bytes_ - table_at - sizeof suffix;
  std::memcpy(&suffix, cache.map_ + table_at + table_bytes, sizeof suffix);
  const uint8_t* text = cache.map_ + table_at;
  if (std::memcmp(suffix.magic, magic, sizeof magic) != 0 || suffix.version != version ||
      suffix.table_bytes != table_bytes || suffix.table_crc32c != crc32c(text, table_bytes))
    return false;
  const Json table = Json::parse(text, text + table_bytes, nullptr, false);
  if (!table.is_object() || !table.contains("dropped_alpha") ||
      !table["dropped_alpha"].is_number_integer())
    return false;
  cache.dropped_alpha_ = table["dropped_alpha"].get<int64_t>();
  if (table != Json::parse(table_of(pictures, cache.dropped_alpha_))) return false;
  *this = std::move(cache);
  return true;
}

PackedCache PackedCache::open_or_build(const std::string& folder,
                                       const std::vector<PackedPicture>& pictures,
                                       const FileDigests& digests,
                                       const std::function<Image(int64_t)>& decode,
                                       ThreadPool& pool, const Progress& progress) {
  make_folders(folder);
  const Name name = name_for(pictures, complete(digests, pictures, pool));
  const std::string path = folder + "/" + name_begin + name.place + "-" + name.content + name_end;
  PackedCache cache;
  if (cache.open(path, pictures)) return cache;
  // The same pictures that lay elsewhere.
  for (const std::string& other : packs(folder, name_begin, "-" + name.content + name_end))
    if (cache.open(other, pictures)) return cache;
  build(path, pictures, decode, pool, progress);
  if (!cache.open(path, pictures))
    file_error("cannot read '" + path + "', which was just written (check the disk)");
  // What these files held before. Who has one mapped keeps it.
  for (const std::string& stale : packs(folder, name_begin + name.place + "-", name_end)) {
    std::error_code ignored;
    if (stale != path) std::filesystem::remove(stale, ignored);
  }
  return cache;
}

std::vector<std::string> cache_files(const std::string& folder) {
  return packs(folder, name_begin, name_end);
}

PackedCache& PackedCache::operator=(PackedCache&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(map_, other.map_);
  std::swap(map_bytes_, other.map_bytes_);
  std::swap(begins_, other.begins_);
  std::swap(dropped_alpha_, other.dropped_alpha_);
  return *this;
}

PackedCache::~PackedCache() {
  if (map_) ::munmap(map_, map_bytes_);
}

}  // namespace fulmar::data
