#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/picture_errors.h"
#include "kernels/thread_pool.h"

namespace fulmar::data {

// The size and checksum of a file's contents, with the file system's facts when it was read.
struct FileDigest {
  uint64_t bytes = 0;
  uint32_t crc32c = 0;
  uint64_t inode = 0;
  int64_t modified_ns = 0, changed_ns = 0, read_ns = 0;  // since 1970: mtime, ctime, clock

  bool same_content(const FileDigest& other) const {
    return bytes == other.bytes && crc32c == other.crc32c;
  }
};

// Digests by the file's path, or by its name.
using FileDigests = std::map<std::string, FileDigest>;

// The digest of each file by its path, read on the pool, `progress` after each. A file in `known`
// is read again unless size, inode, mtime and ctime are the same, its last change came two seconds
// or more before it was read, and its file system keeps a ctime that nobody can put back: local
// disks' and clusters' do, FAT, exFAT, SMB and FUSE may not.
// Error(file) naming the first file that can't be read.
FileDigests digest_files(const std::vector<std::string>& paths, const FileDigests& known,
                         ThreadPool& pool, const Progress& progress = {});

// As text: a line for each file; names keep their bytes. Error(file) with `path` for other text.
std::string to_text(const FileDigests& digests);
FileDigests digests_from_text(const std::string& text, const std::string& path);

// The digests that a cache folder keeps, by path; none where they can't be read.
FileDigests read_cached_digests(const std::string& folder);
// Adds digests to them, and drops those of files that are gone. Where that can't be written, files
// are read again another time.
void keep_cached_digests(const std::string& folder, const FileDigests& digests);

}  // namespace fulmar::data
