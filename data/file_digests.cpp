#include "data/file_digests.h"

#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"

namespace fulmar::data {
namespace {

constexpr const char* first_line =
    "crc32c bytes inode modified_ns changed_ns read_ns name (version 1)\n";
constexpr size_t piece_bytes = 1 << 20;

int64_t nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec;
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// What the file system says, without the content; false where it says nothing.
bool look_at(const std::string& path, FileDigest& digest) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return false;
  digest.bytes = static_cast<uint64_t>(status.st_size);
  digest.inode = status.st_ino;
  digest.modified_ns = nanoseconds(status.st_mtim);
  digest.changed_ns = nanoseconds(status.st_ctim);
  return true;
}

// Whether its ctime moves with each change and by nothing else: statfs(2), f_type.
bool has_true_ctime(const std::string& path) {
  constexpr uint32_t kinds[] = {
      0xEF53,                               // ext2, ext3, ext4
      0x58465342, 0x9123683E, 0x2FC12FC1,   // XFS, btrfs, ZFS
      0xF2F52010, 0x01021994, 0x794C7630,   // F2FS, tmpfs, overlay
      0x6969,     0x0BD00BD0, 0x47504653u,  // NFS, Lustre, GPFS
      0x00C36400, 0x19830326,               // Ceph, BeeGFS
  };
  struct statfs status {};
  if (::statfs(path.c_str(), &status) != 0) return false;
  return std::count(std::begin(kinds), std::end(kinds), static_cast<uint32_t>(status.f_type)) > 0;
}

// Two changes within one tick of the file system's clock have the same ctime; FAT's is 2 s.
bool is_untouched(const FileDigest& known, const FileDigest& now, const std::string& path) {
  constexpr int64_t longest_tick_ns = 2000000000;
  return known.bytes == now.bytes && known.inode == now.inode &&
         known.modified_ns == now.modified_ns && known.changed_ns == now.changed_ns &&
         known.read_ns - known.changed_ns >= longest_tick_ns && has_true_ctime(path);
}

FileDigest digest_file(const std::string& path, const FileDigest* known) {
  FileDigest digest;
  const bool seen = look_at(path, digest);
  if (seen && known && is_untouched(*known, digest, path)) return *known;
  digest.read_ns = now_ns();
  InputFile file(path);
  digest.bytes = file.bytes();
  const auto next = [&](uint64_t at) {
    return static_cast<size_t>(std::min<uint64_t>(piece_bytes, digest.bytes - at));
  };
  const auto piece = std::make_unique_for_overwrite<char[]>(next(0));
  for (uint64_t at = 0; at < digest.bytes;) {
    const size_t bytes = next(at);
    file.read(piece.get(), bytes);
    digest.crc32c = crc32c(piece.get(), bytes, digest.crc32c);
    at += bytes;
  }
  return digest;
}

std::string escaped(const std::string& name) {
  std::string text;
  for (const char c : name) text += c == '\n' ? "\\n" : c == '\\' ? "\\\\" : std::string(1, c);
  return text;
}

std::string unescaped(std::string_view text) {
  std::string name;
  for (size_t i = 0; i < text.size(); i++) {
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    if (escape) i++;
    name += escape && text[i] == 'n' ? '\n' : text[i];
  }
  return name;
}

// The number up to the next space, which goes too; false where there is none.
template <class T>
bool take_number(std::string_view& line, T& value, int base = 10) {
  const auto [at, reason] = std::from_chars(line.data(), line.data() + line.size(), value, base);
  const auto length = static_cast<size_t>(at - line.data());
  if (reason != std::errc{} || length >= line.size() || line[length] != ' ') return false;
  line.remove_prefix(length + 1);
  return true;
}

}  // namespace

FileDigests digest_files(const std::vector<std::string>& paths, const FileDigests& known,
                         ThreadPool& pool, const Progress& progress) {
  std::vector<FileDigest> digests(paths.size());
  throw_first(for_each_picture(
      pool, std::ssize(paths),
      [&](int64_t i) {
        const std::string& path = paths[static_cast<size_t>(i)];
        const auto found = known.find(path);
        digests[static_cast<size_t>(i)] =
            digest_file(path, found == known.end() ? nullptr : &found->second);
      },
      progress));
  FileDigests by_path;
  for (size_t i = 0; i < paths.size(); i++) by_path[paths[i]] = digests[i];
  return by_path;
}

std::string to_text(const FileDigests& digests) {
  std::string text = first_line;
  for (const auto& [name, d] : digests) {
    char crc[9];
    std::snprintf(crc, sizeof crc, "%08x", d.crc32c);
    text += crc;
    text += " " + std::to_string(d.bytes) + " " + std::to_string(d.inode);
    for (const int64_t time : {d.modified_ns, d.changed_ns, d.read_ns})
      text += " " + std::to_string(time);
    text += " " + escaped(name) + "\n";
  }
  return text;
}

FileDigests digests_from_text(const std::string& text, const std::string& path) {
  const auto refuse = [&] {
    file_error(path +
               ": not a list of files' digests that this version wrote, or cut short; "
               "restore it, or remove it");
  };
  std::string_view rest = text;
  const std::string_view head = first_line;
  if (rest.substr(0, head.size()) != head) refuse();
  rest.remove_prefix(head.size());
  FileDigests digests;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) refuse();
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    FileDigest d;
    if (!take_number(line, d.crc32c, 16) || !take_number(line, d.bytes) ||
        !take_number(line, d.inode) || !take_number(line, d.modified_ns) ||
        !take_number(line, d.changed_ns) || !take_number(line, d.read_ns) || line.empty())
      refuse();
    digests[unescaped(line)] = d;
  }
  return digests;
}

namespace {

std::string place_in(const std::string& folder) { return folder + "/digests.txt"; }

}  // namespace

FileDigests read_cached_digests(const std::string& folder) {
  try {
    constexpr uint64_t most_bytes = uint64_t{1} << 30;
    return digests_from_text(read_file(place_in(folder), most_bytes), place_in(folder));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;
    return {};
  }
}

void keep_cached_digests(const std::string& folder, const FileDigests& digests) {
  FileDigests all = read_cached_digests(folder);
  std::erase_if(all, [](const auto& entry) {
    std::error_code unknown;
    return !std::filesystem::exists(entry.first, unknown) && !unknown;
  });
  for (const auto& [path, digest] : digests) all[path] = digest;
  try {
    make_folders(folder);
    write_file(place_in(folder), to_text(all));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::file) throw;
  }
}

}  // namespace fulmar::data
