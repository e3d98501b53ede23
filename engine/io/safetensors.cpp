#include "engine/io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors is little-endian");

constexpr size_t data_alignment = 64;
constexpr char version_key[] = "format_version";
constexpr char data_crc_key[] = "data_crc32c";
constexpr char header_crc_key[] = "header_crc32c";
constexpr char header_crc_entry[] = "\"header_crc32c\":\"";
constexpr char our_version[] = "1";

std::string hexadecimal(uint32_t number) {
  std::string text(8, '0');
  for (size_t i = 0; i < 8; i++) text[i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15];
  return text;
}

// CRC of the header with its own digits zeroed. Written compactly the entry occurs once: inside a
// JSON text its quotes would be escaped.
std::optional<uint32_t> header_sum(std::string header) {
  const size_t entry = header.find(header_crc_entry);
  if (entry == header.npos || header.find(header_crc_entry, entry + 1) != header.npos)
    return std::nullopt;
  const size_t digits = entry + std::strlen(header_crc_entry);
  if (digits + 8 > header.size()) return std::nullopt;
  std::fill_n(header.begin() + static_cast<ptrdiff_t>(digits), 8, '0');
  return crc32c(header.data(), header.size());
}

constexpr char other_program[] =
    "; if another program changed it on purpose, let that remove data_crc32c and header_crc32c "
    "from its metadata";

// Checks the header's checksum and takes the format's own entries out of the metadata. Gives the
// checksum that the tensors' bytes should have; none where the file has no checksums.
std::optional<std::string> check_header(const std::string& header, const std::string& name,
                                        std::map<std::string, std::string>& metadata,
                                        std::vector<std::string>& notes) {
  const auto header_crc = metadata.find(header_crc_key), data_crc = metadata.find(data_crc_key);
  if (header_crc == metadata.end() && data_crc == metadata.end()) {
    notes.push_back("'" + name +
                    "' carries no checksums, so damage to it would not be noticed: another program "
                    "wrote it");
    return std::nullopt;
  }
  if (header_crc == metadata.end() || data_crc == metadata.end())
    damaged_safetensors(name, std::string("one of its two checksums is missing") + other_program);
  const std::optional<uint32_t> sum = header_sum(header);
  if (!sum || hexadecimal(*sum) != header_crc->second)
    damaged_safetensors(name, std::string("its header does not fit its checksum") + other_program);
  const auto version = metadata.find(version_key);
  if (version == metadata.end() || version->second != our_version)
    file_error("cannot read '" + name + "': its format_version is " +
               (version == metadata.end() ? "missing" : shown(version->second)) +
               ", this program reads 1 (use the version of fulmar that wrote it, or a newer one)");
  std::string expected = data_crc->second;
  for (const char* key : {version_key, header_crc_key, data_crc_key}) metadata.erase(key);
  return expected;
}

void check_data(const std::optional<std::string>& expected, uint32_t crc, const std::string& name) {
  if (expected && hexadecimal(crc) != *expected)
    damaged_safetensors(name, std::string("its tensors do not fit their checksum") + other_program);
}

// Pieces small enough for a processor's cache: a piece is summed and copied while it lies there.
constexpr size_t piece_bytes = size_t{256} << 10;

}  // namespace

// Where bytes come from, in order.
struct Safetensors::Source {
  std::string name;
  uint64_t bytes;
  virtual void read(void* to, size_t bytes) = 0;

 protected:
  Source(std::string file_name, uint64_t file_bytes)
      : name(std::move(file_name)), bytes(file_bytes) {}
  ~Source() = default;
};

void Safetensors::FreeAligned::operator()(std::byte* bytes) const {
  ::operator delete[](bytes, std::align_val_t{data_alignment});
}

Safetensors Safetensors::read(const std::string& path, uint64_t max_bytes) {
  struct FileSource : Source {
    InputFile file;
    explicit FileSource(const std::string& path) : Source(path, 0), file(path) {
      bytes = file.bytes();
    }
    void read(void* to, size_t count) override { file.read(to, count); }
  };
  FileSource source(path);
  return load(source, max_bytes);
}

Safetensors Safetensors::parse(std::span<const std::byte> file, const std::string& name,
                               uint64_t max_bytes) {
  struct MemorySource : Source {
    const std::byte* at;
    MemorySource(std::span<const std::byte> file, const std::string& name)
        : Source(name, file.size()), at(file.data()) {}
    void read(void* to, size_t count) override {
      if (count > 0) std::memcpy(to, at, count);
      at += count;
    }
  };
  MemorySource source(file, name);
  return load(source, max_bytes);
}

namespace {

// Reads the header, up to the first byte of the tensors.
template <class Source>
std::string read_header(Source& source, uint64_t max_bytes) {
  if (source.bytes == 0) damaged_safetensors(source.name, "it is empty");
  if (source.bytes < 8)
    damaged_safetensors(source.name, "it has only " + std::to_string(source.bytes) + " bytes");
  if (source.bytes > max_bytes)
    file_error("cannot read '" + source.name + "': it has " + std::to_string(source.bytes) +
               " bytes, at most " + std::to_string(max_bytes) +
               " are read (check that it is the right file)");
  uint64_t header_bytes = 0;
  source.read(&header_bytes, 8);
  if (header_bytes > Safetensors::max_header_bytes)
    damaged_safetensors(
        source.name,
        "it is not a safetensors file: its first bytes are no header length below 100 MB");
  if (header_bytes > source.bytes - 8)
    damaged_safetensors(source.name, "it is cut short: its header has " +
                                         std::to_string(header_bytes) + " bytes, " +
                                         std::to_string(source.bytes - 8) + " are there");
  std::string header(static_cast<size_t>(header_bytes), '\0');
  source.read(header.data(), header.size());
  return header;
}

}  // namespace

Safetensors Safetensors::load(Source& source, uint64_t max_bytes) {
  const std::string header = read_header(source, max_bytes);
  const uint64_t data_bytes = source.bytes - 8 - header.size();

  Safetensors file;
  file.name_ = source.name;
  SafetensorsHeader parsed = parse_safetensors_header(header, data_bytes, source.name);
  file.metadata_ = std::move(parsed.metadata);
  const auto crc = check_header(header, file.name_, file.metadata_, file.notes_);
  try {
    file.data_.reset(static_cast<std::byte*>(
        ::operator new[](static_cast<size_t>(data_bytes), std::align_val_t{data_alignment})));
  } catch (const std::bad_alloc&) {
    device_error("cannot read '" + source.name + "': there is no memory for its " +
                 std::to_string(data_bytes) +
                 " bytes (close other programs or use a larger machine)");
  }
  source.read(file.data_.get(), static_cast<size_t>(data_bytes));
  if (crc) check_data(crc, crc32c(file.data_.get(), static_cast<size_t>(data_bytes)), file.name_);
  for (SafetensorsEntry& entry : parsed.entries) {
    entry.tensor.data = file.data_.get() + entry.begin;
    file.by_name_.emplace(entry.tensor.name, file.tensors_.size());
    file.tensors_.push_back(std::move(entry.tensor));
  }
  return file;
}

struct SafetensorsStream::State {
  std::string name;
  InputFile file;
  uint64_t bytes;
  std::optional<std::string> crc{};

  explicit State(const std::string& path) : name(path), file(path), bytes(file.bytes()) {}
  void read(void* to, size_t count) { file.read(to, count); }
};

SafetensorsStream::SafetensorsStream(const std::string& path, uint64_t max_bytes)
    : state_(std::make_unique<State>(path)) {
  const std::string header = read_header(*state_, max_bytes);
  SafetensorsHeader parsed =
      parse_safetensors_header(header, state_->bytes - 8 - header.size(), path);
  metadata_ = std::move(parsed.metadata);
  state_->crc = check_header(header, path, metadata_, notes_);
  for (SafetensorsEntry& entry : parsed.entries) tensors_.push_back(std::move(entry.tensor));
}

SafetensorsStream::~SafetensorsStream() = default;

void SafetensorsStream::read(const Take& take) {
  std::vector<std::byte> piece(piece_bytes);
  uint32_t crc = 0;
  for (size_t i = 0; i < tensors_.size(); i++)
    for (size_t offset = 0, bytes = tensors_[i].bytes(); offset < bytes; offset += piece_bytes) {
      const size_t count = std::min(piece_bytes, bytes - offset);
      state_->file.read(piece.data(), count);
      crc = crc32c(piece.data(), count, crc);
      take(i, offset, {piece.data(), count});
    }
  check_data(state_->crc, crc, state_->name);
}

const StoredTensor* Safetensors::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const StoredTensor& Safetensors::at(std::string_view name) const {
  if (const StoredTensor* tensor = find(name)) return *tensor;
  file_error("'" + name_ + "' has no tensor " + shown(name) + " (use a file that has it)");
}

const std::string& Safetensors::text(const std::string& key) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end())
    file_error("'" + name_ + "' has no " + shown(key) +
               " in its metadata (use a file that has it)");
  return found->second;
}

void write_safetensors(const std::string& path, std::span<const StoredTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const StoredTensor*> order;
  for (const StoredTensor& tensor : tensors) order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(), [](const StoredTensor* a, const StoredTensor* b) {
    return size_of(a->type) > size_of(b->type);
  });
  uint32_t data_crc = 0;
  for (const StoredTensor* tensor : order)
    data_crc = crc32c(tensor->data, tensor->bytes(), data_crc);

  nlohmann::ordered_json header;
  auto& texts = header["__metadata__"];
  texts[version_key] = our_version;
  texts[data_crc_key] = hexadecimal(data_crc);
  texts[header_crc_key] = "00000000";
  for (const auto& entry : metadata) {
    if (texts.contains(entry.first))
      usage_error("the metadata key '" + entry.first + "' belongs to the file format");
    texts[entry.first] = entry.second;
  }
  uint64_t position = 0;
  for (const StoredTensor* tensor : order) {
    const uint64_t end = position + tensor->bytes();
    auto [entry, inserted] =
        header.emplace(tensor->name, nlohmann::ordered_json{{"dtype", name_of(tensor->type)},
                                                            {"shape", tensor->shape},
                                                            {"data_offsets", {position, end}}});
    if (!inserted)
      usage_error("two tensors for '" + path + "' have the name " + shown(tensor->name));
    position = end;
  }
  std::string json;
  try {
    json = header.dump();
  } catch (const nlohmann::json::exception&) {
    usage_error("a name or text for '" + path + "' is not UTF-8");
  }
  // Spaces up to the alignment of the data.
  json.append((data_alignment - (8 + json.size()) % data_alignment) % data_alignment, ' ');
  if (json.size() > Safetensors::max_header_bytes)
    usage_error("the header of '" + path + "' would have " + std::to_string(json.size()) +
                " bytes, at most 100 MB are allowed");
  const size_t digits = json.find(header_crc_entry) + std::strlen(header_crc_entry);
  json.replace(digits, 8, hexadecimal(crc32c(json.data(), json.size())));

  AtomicFile file(path);
  const uint64_t header_bytes = json.size();
  file.write(&header_bytes, 8);
  file.write(json.data(), json.size());
  for (const StoredTensor* tensor : order) file.write(tensor->data, tensor->bytes());
  file.commit();
}

}  // namespace fulmar
