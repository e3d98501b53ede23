#include "tools/exchange/zip.h"

#include <libdeflate.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "engine/io/safetensors_header.h"
#include "kernels/error.h"

namespace fulmar::exchange {
namespace {

static_assert(std::endian::native == std::endian::little, "the archive's numbers are read as such");

constexpr uint32_t local_header = 0x04034b50, central_header = 0x02014b50, end_header = 0x06054b50,
                   end64_header = 0x06064b50, end64_locator = 0x07064b50;
constexpr size_t local_bytes = 30, central_bytes = 46, end_bytes = 22, end64_bytes = 56,
                 locator_bytes = 20, max_comment_bytes = 65535;
constexpr uint64_t max_entries = 1 << 20;

[[noreturn]] void damaged(const std::string& problem) {
  file_error("the archive is damaged: " + problem);
}

template <class T>
T number(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// `bytes` bytes from `at` on; nothing where the file ends before.
std::optional<std::string_view> part(std::string_view file, uint64_t at, uint64_t bytes) {
  if (at > file.size() || bytes > file.size() - at) return {};
  return file.substr(static_cast<size_t>(at), static_cast<size_t>(bytes));
}

struct Directory {
  uint64_t at, count;
};

// The end record is the last of its kind that a comment of its length follows.
Directory find_directory(std::string_view file) {
  if (file.size() < end_bytes) file_error("it is no zip archive: it is too short");
  const size_t last = file.size() - end_bytes;
  const size_t first = last > max_comment_bytes ? last - max_comment_bytes : 0;
  for (size_t at = last + 1; at-- > first;) {
    if (number<uint32_t>(file, at) != end_header) continue;
    if (number<uint16_t>(file, at + 20) != file.size() - at - end_bytes) continue;
    Directory found{number<uint32_t>(file, at + 16), number<uint16_t>(file, at + 10)};
    if (number<uint16_t>(file, at + 4) != 0) file_error("it is a part of a split zip archive");
    if (at < locator_bytes || number<uint32_t>(file, at - locator_bytes) != end64_locator)
      return found;
    const auto record = part(file, number<uint64_t>(file, at - locator_bytes + 8), end64_bytes);
    if (!record || number<uint32_t>(*record, 0) != end64_header)
      damaged("its ZIP64 directory isn't where it says");
    return {number<uint64_t>(*record, 48), number<uint64_t>(*record, 32)};
  }
  file_error("it is no zip archive, or it is cut short: its directory is missing");
}

// Sizes and offset that take more than four bytes stand in an extra field.
void read_zip64(std::string_view extra, uint64_t& size, uint64_t& stored, uint64_t& at) {
  for (size_t i = 0; i + 4 <= extra.size();) {
    const auto kind = number<uint16_t>(extra, i), bytes = number<uint16_t>(extra, i + 2);
    i += 4;
    if (bytes > extra.size() - i) damaged("an entry's extra field is too long");
    size_t from = i;
    if (kind == 1)
      for (uint64_t* value : {&size, &stored, &at}) {
        if (*value != std::numeric_limits<uint32_t>::max()) continue;
        if (from + 8 > i + bytes) damaged("an entry's ZIP64 field is too short");
        *value = number<uint64_t>(extra, from);
        from += 8;
      }
    i += bytes;
  }
}

}  // namespace

ZipArchive::ZipArchive(std::string_view file) {
  const Directory directory = find_directory(file);
  if (directory.count > max_entries) damaged("it claims more than 2^20 entries");
  if (directory.at > file.size()) damaged("its directory lies outside");
  size_t at = static_cast<size_t>(directory.at);
  for (uint64_t i = 0; i < directory.count; i++) read_entry(file, at);
}

void ZipArchive::read_entry(std::string_view file, size_t& at) {
  const auto header = part(file, at, central_bytes);
  if (!header || number<uint32_t>(*header, 0) != central_header)
    damaged("its directory ends before its last entry");
  const auto flags = number<uint16_t>(*header, 8), method = number<uint16_t>(*header, 10);
  const size_t name_bytes = number<uint16_t>(*header, 28), extra = number<uint16_t>(*header, 30),
               comment = number<uint16_t>(*header, 32);
  const auto texts = part(file, at + central_bytes, name_bytes + extra + comment);
  if (!texts) damaged("its directory is cut short");
  at += central_bytes + texts->size();
  const std::string name(texts->substr(0, name_bytes));
  uint64_t stored = number<uint32_t>(*header, 20), size = number<uint32_t>(*header, 24),
           local = number<uint32_t>(*header, 42);
  read_zip64(texts->substr(name_bytes, extra), size, stored, local);
  if (flags & 1) file_error("its entry " + shown(name) + " is encrypted");
  if (method != 0 || size != stored)
    file_error("its entry " + shown(name) +
               " is compressed; PyTorch stores them: save the file anew with torch.save");
  // The local header's own sizes may be 0; its name and extra field say where the bytes begin.
  const auto begin = part(file, local, local_bytes);
  if (!begin || number<uint32_t>(*begin, 0) != local_header)
    damaged("entry " + shown(name) + " isn't where the directory says");
  const uint64_t data =
      local + local_bytes + number<uint16_t>(*begin, 26) + number<uint16_t>(*begin, 28);
  const auto bytes = part(file, data, size);
  if (!bytes) damaged("entry " + shown(name) + " reaches beyond the end");
  if (!entries_.emplace(name, *bytes).second) damaged("entry " + shown(name) + " is there twice");
  crcs_[name] = number<uint32_t>(*header, 16);
}

std::string_view ZipArchive::read(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) file_error("the archive has no entry " + shown(name));
  const std::string_view bytes = found->second;
  if (libdeflate_crc32(0, bytes.data(), bytes.size()) != crcs_.at(name))
    damaged("entry " + shown(name) + " doesn't have its checksum (CRC-32)");
  return bytes;
}

namespace {

template <class T>
void append(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// What local and central headers share, from the version on: 1980-01-01, so that equal contents
// make equal files.
std::string common_header(uint32_t crc, uint32_t bytes, size_t name_bytes) {
  std::string header;
  append<uint16_t>(header, 20);  // version 2.0
  append<uint16_t>(header, 0);   // flags
  append<uint16_t>(header, 0);   // stored
  append<uint16_t>(header, 0);   // time
  append<uint16_t>(header, 33);  // date
  append(header, crc);
  append(header, bytes);
  append(header, bytes);
  append(header, static_cast<uint16_t>(name_bytes));
  append<uint16_t>(header, 0);  // extra field
  return header;
}

}  // namespace

void ZipWriter::write(std::string_view bytes) {
  file_.write(bytes.data(), bytes.size());
  written_ += bytes.size();
}

void ZipWriter::add(const std::string& name, std::string_view bytes) {
  constexpr uint64_t limit = std::numeric_limits<uint32_t>::max();
  if (bytes.size() >= limit || written_ + bytes.size() >= limit)
    usage_error("an archive of 4 GiB or more: choose another format");
  if (count_ == std::numeric_limits<uint16_t>::max() || name.size() > 65535)
    usage_error("an archive of more than 65534 entries: choose another format");
  const uint32_t crc = libdeflate_crc32(0, bytes.data(), bytes.size());
  const std::string common = common_header(crc, static_cast<uint32_t>(bytes.size()), name.size());
  append(directory_, central_header);
  append<uint16_t>(directory_, 20);
  directory_ += common;
  append<uint16_t>(directory_, 0);  // comment
  append<uint16_t>(directory_, 0);  // disk
  append<uint16_t>(directory_, 0);  // attributes
  append<uint32_t>(directory_, 0);
  append(directory_, static_cast<uint32_t>(written_));
  directory_ += name;
  std::string local;
  append(local, local_header);
  write(local + common + name);
  write(bytes);
  count_++;
}

void ZipWriter::commit() {
  const auto at = static_cast<uint32_t>(written_), bytes = static_cast<uint32_t>(directory_.size());
  std::string end;
  append(end, end_header);
  append<uint32_t>(end, 0);  // disks
  append(end, count_);
  append(end, count_);
  append(end, bytes);
  append(end, at);
  append<uint16_t>(end, 0);  // comment
  write(directory_ + end);
  file_.commit();
}

}  // namespace fulmar::exchange
