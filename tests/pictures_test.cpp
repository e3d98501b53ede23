#include "data/pictures.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/file_digests.h"
#include "data/packed_cache.h"
#include "engine/io/crc32c.h"
#include "engine/io/file.h"
#include "kernels/error.h"
#include "tests/support/bitmap.h"
#include "tests/support/error_of.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"

using namespace fulmar;
using namespace fulmar::data;
using fulmar::test::error_of;
using fulmar::test::has;

namespace {

namespace fs = std::filesystem;

// Pictures of several sizes, each in colours of its own.
std::vector<std::string> write_pictures(const test::TempFolder& folder, int count) {
  std::vector<std::string> paths;
  for (int i = 0; i < count; i++) {
    paths.push_back(folder.path("p" + std::to_string(i) + ".bmp"));
    test::write_bitmap(paths.back(), 5 + i % 3, 7 - i % 2, [&](int row, int column) {
      return static_cast<uint32_t>(i * 7 << 16 | row << 8 | column);
    });
  }
  return paths;
}

std::vector<uint8_t> rows(const Pictures& pictures, int64_t picture, int64_t row_bytes) {
  std::vector<uint8_t> to(static_cast<size_t>(pictures.header(picture).height * row_bytes), 255);
  pictures.copy(picture, to.data(), row_bytes);
  return to;
}

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().string());
  return names;
}

}  // namespace

TEST_CASE("memory, cache and files give the same pixels") {
  const test::TempFolder folder, caches;
  const auto paths = write_pictures(folder, 20);
  ThreadPool pool(2);
  PictureOptions options;
  const auto memory = open_pictures(paths, options, pool);
  options.memory_bytes = 20 * 7 * 5 * 3 - 1;
  const auto files = open_pictures(paths, options, pool);
  options.cache_folder = caches.path("deep/cache");
  int64_t decoded = 0;
  options.progress = [&](int64_t done, int64_t total) {
    decoded++;
    CHECK(done == decoded);
    CHECK(total == 20);
  };
  const auto built = open_pictures(paths, options, pool);
  CHECK(decoded == 20);
  const auto cached = open_pictures(paths, options, pool);
  CHECK(decoded == 20);  // taken as it is
  CHECK(built->decoded() == 20);
  CHECK(cached->decoded() == 0);
  CHECK(files_in(caches.path("deep/cache")).size() == 1);
  CHECK(memory->source() == std::string("memory"));
  CHECK(files->source() == std::string("files"));
  CHECK(cached->source() == std::string("cache"));
  CHECK(memory->max_height() == 7);
  CHECK(memory->max_width() == 7);
  for (int64_t i = 0; i < 20; i++) {
    const auto expected = rows(*memory, i, 40);
    CHECK(expected[0] == i * 7);  // red is the picture, green the row, blue the column
    CHECK(expected[3 + 40 + 1] == 1);
    CHECK(expected[3 + 40 + 2] == 1);
    CHECK(rows(*files, i, 40) == expected);
    CHECK(rows(*built, i, 40) == expected);
    CHECK(rows(*cached, i, 40) == expected);
    CHECK(expected[39] == 255);  // between the rows nothing is written
  }
}

TEST_CASE("pictures that are decoded when wanted are decoded once, by whichever thread") {
  const test::TempFolder folder;
  const auto paths = write_pictures(folder, 20);
  ThreadPool pool(4);
  PictureOptions options;
  const auto expected = open_pictures(paths, options, pool);
  CHECK(expected->decoded() == 20);
  options.when_wanted = true;
  options.progress = [](int64_t, int64_t) { FAIL("nothing is decoded yet"); };
  const auto wanted = open_pictures(paths, options, pool);
  CHECK(wanted->source() == std::string("memory"));
  CHECK(wanted->decoded() == 0);
  std::vector<int> equal(80);
  pool.run(80, [&](int64_t i, int) {
    equal[static_cast<size_t>(i)] = rows(*wanted, i % 10, 40) == rows(*expected, i % 10, 40);
  });
  CHECK(equal == std::vector<int>(80, 1));
  CHECK(wanted->decoded() == 10);
  std::filesystem::remove(paths[3]);
  CHECK(rows(*wanted, 3, 40) == rows(*expected, 3, 40));
  CHECK(wanted->decoded() == 10);
  std::filesystem::remove(paths[15]);
  for (int i = 0; i < 2; i++)
    CHECK(has(error_of(ErrorKind::file, [&] { rows(*wanted, 15, 40); }), paths[15]));
}

TEST_CASE("pictures are converted to the wanted bands") {
  const test::TempFolder folder;
  const auto paths = write_pictures(folder, 1);
  ThreadPool pool(1);
  PictureOptions options;
  options.bands = 1;
  const auto grey = open_pictures(paths, options, pool);
  CHECK(grey->bands() == 1);
  const Image expected = with_channels(read_image(paths[0]), 1);
  CHECK(rows(*grey, 0, expected.width) == expected.data);
}

TEST_CASE("a cache is made anew when a picture changes, the cache is damaged, or bands differ") {
  const test::TempFolder folder, caches;
  const auto paths = write_pictures(folder, 3);
  ThreadPool pool(1);
  PictureOptions options;
  options.cache_folder = caches.path();
  int decoded = 0;
  options.progress = [&](int64_t, int64_t) { decoded++; };
  open_pictures(paths, options, pool);
  REQUIRE(decoded == 3);

  const std::string file = files_in(caches.path())[0];
  const std::string whole = read_file(file, 1 << 20);
  for (const size_t cut : {size_t{0}, size_t{10}, whole.size() / 2, whole.size() - 1}) {
    write_file(file, whole.substr(0, cut));
    decoded = 0;
    open_pictures(paths, options, pool);
    CHECK(decoded == 3);
    CHECK(read_file(file, 1 << 20) == whole);
  }
  std::string flipped = whole;
  flipped[whole.size() - 24 - 2] ^= 1;  // the table's last digit: how many had transparency
  write_file(file, flipped);
  decoded = 0;
  open_pictures(paths, options, pool);
  CHECK(decoded == 3);

  test::write_bitmap(paths[1], 5, 7, [](int, int) { return 0xffffffu; });
  fs::last_write_time(paths[1], fs::last_write_time(paths[0]) + std::chrono::seconds(5));
  decoded = 0;
  const auto changed = open_pictures(paths, options, pool);
  CHECK(decoded == 3);
  CHECK(rows(*changed, 1, 21)[0] == 255);
  CHECK(files_in(caches.path()).size() == 1);  // in the old one's place
  options.bands = 1;
  open_pictures(paths, options, pool);
  CHECK(files_in(caches.path()).size() == 2);
}

TEST_CASE("a cache goes by what files hold: not by their size and time, nor by where they lie") {
  const test::TempFolder folder, caches;
  auto paths = write_pictures(folder, 3);
  ThreadPool pool(1);
  PictureOptions options;
  options.cache_folder = caches.path();
  int decoded = 0;
  options.progress = [&](int64_t, int64_t) { decoded++; };
  open_pictures(paths, options, pool);
  // Another picture of the same size, and the old time put back, as rsync and tar do.
  const auto time = fs::last_write_time(paths[0]);
  test::write_bitmap(paths[0], 5, 7, [](int, int) { return 0x808080u; });
  fs::last_write_time(paths[0], time);
  decoded = 0;
  const auto exchanged = open_pictures(paths, options, pool);
  CHECK(decoded == 3);
  CHECK(rows(*exchanged, 0, 21)[0] == 128);
  // The same pictures elsewhere.
  fs::create_directories(folder.path("moved"));
  for (std::string& path : paths) {
    const std::string moved = folder.path("moved/") + fs::path(path).filename().string();
    fs::rename(path, moved);
    path = moved;
  }
  decoded = 0;
  const auto moved = open_pictures(paths, options, pool);
  CHECK(decoded == 0);
  CHECK(rows(*moved, 0, 21) == rows(*exchanged, 0, 21));
  CHECK(cache_files(caches.path()) == std::vector<std::string>{moved->cache_file()});
}

TEST_CASE("digests: a file is read again unless its file system vouches that it is untouched") {
  const test::TempFolder folder;
  const std::string path = folder.path("odd \n\\ name"), other = folder.path("b");
  write_file(path, "one");
  write_file(other, std::string(3000000, 'b'));
  ThreadPool pool(2);
  FileDigests known = digest_files({path, other}, {}, pool);
  CHECK(known.at(path).bytes == 3);
  CHECK(known.at(path).crc32c == crc32c("one", 3));
  CHECK(known.at(other).crc32c == crc32c(std::string(3000000, 'b').data(), 3000000));
  const FileDigests again = digests_from_text(to_text(known), "list");
  CHECK(again.size() == 2);
  CHECK(to_text(again) == to_text(known));
  CHECK(again.at(path).same_content(known.at(path)));

  // What was just written may change again within a tick: it is read, whatever was known.
  FileDigests wrong = known;
  wrong.at(path).crc32c = 7;
  CHECK(digest_files({path}, wrong, pool).at(path).crc32c == crc32c("one", 3));
  // Read long after its last change: the file system vouches for it, if it is one that can.
  wrong.at(path).read_ns += 3000000000;
  const uint32_t crc = digest_files({path}, wrong, pool).at(path).crc32c;
  CHECK((crc == 7 || crc == crc32c("one", 3)));
  MESSAGE("files here are read again only when touched: ", crc == 7);
  // Another content in the same size, the old time put back: only ctime tells.
  const auto time = fs::last_write_time(path);
  AppendFile in_place(path);
  in_place.truncate(0);
  in_place.append("two");
  fs::last_write_time(path, time);
  CHECK(digest_files({path}, wrong, pool).at(path).crc32c == crc32c("two", 3));

  for (const char* bad : {"", "hello", "crc32c bytes"})
    CHECK(has(error_of(ErrorKind::file, [&] { digests_from_text(bad, "list"); }), "list: not a"));
  const std::string text = to_text(known);
  CHECK(has(error_of(ErrorKind::file,
                     [&] { digests_from_text(text.substr(0, text.size() - 1), "list"); }),
            "cut short"));
  CHECK(has(error_of(ErrorKind::file, [&] { digest_files({folder.path("no")}, {}, pool); }),
            folder.path("no")));
}

TEST_CASE("digests of a cache folder outlive what can't be read, and forget files that are gone") {
  const test::TempFolder folder, caches;
  write_file(folder.path("a"), "a");
  write_file(folder.path("b"), "b");
  ThreadPool pool(1);
  CHECK(read_cached_digests(caches.path()).empty());
  keep_cached_digests(caches.path("new"), digest_files({folder.path("a")}, {}, pool));
  keep_cached_digests(caches.path("new"), digest_files({folder.path("b")}, {}, pool));
  CHECK(read_cached_digests(caches.path("new")).size() == 2);
  fs::remove(folder.path("a"));
  keep_cached_digests(caches.path("new"), {});
  CHECK(read_cached_digests(caches.path("new")).count(folder.path("b")) == 1);
  CHECK(read_cached_digests(caches.path("new")).size() == 1);
  write_file(caches.path("new/digests.txt"), "damaged");
  CHECK(read_cached_digests(caches.path("new")).empty());
  write_file(caches.path("file"), "no folder");
  keep_cached_digests(caches.path("file"), {});  // no error
}

TEST_CASE("bad pictures are named and counted, and leave no cache") {
  const test::TempFolder folder, caches;
  auto paths = write_pictures(folder, 9);
  ThreadPool pool(2);
  PictureOptions options;
  for (const int bad : {3, 5, 8}) {
    const auto i = static_cast<size_t>(bad);
    const std::string whole = read_file(paths[i], 1 << 20);
    write_file(paths[i], whole.substr(0, whole.size() - 5));
  }
  for (const std::string cache : {"", "cache"}) {
    if (!cache.empty()) options.cache_folder = caches.path();
    const std::string message =
        error_of(ErrorKind::file, [&] { open_pictures(paths, options, pool); });
    CHECK(has(message, paths[3]));
    CHECK(has(message, "2 more"));
    CHECK(has(message, "fulmar check"));
  }
  CHECK(files_in(caches.path()).empty());

  options.once = true;  // headers are whole; the data are found out when they are wanted
  const auto files = open_pictures(paths, options, pool);
  CHECK(rows(*files, 0, 21).size() == 5 * 21);
  CHECK(has(error_of(ErrorKind::file, [&] { rows(*files, 3, 21); }), paths[3]));

  write_file(paths[0], "no picture");
  CHECK(has(error_of(ErrorKind::file, [&] { open_pictures(paths, options, pool); }), paths[0]));
}

TEST_CASE("a cache file that can't be written is the error, and nothing stays") {
  const test::TempFolder folder, caches;
  const auto paths = write_pictures(folder, 20);
  ThreadPool pool(2);
  PictureOptions options;
  options.cache_folder = caches.path();
  std::signal(SIGXFSZ, SIG_IGN);  // as the program does
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit small{1000, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message =
      error_of(ErrorKind::file, [&] { open_pictures(paths, options, pool); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(has(message, caches.path()));
  CHECK_FALSE(has(message, paths[0]));
  CHECK(files_in(caches.path()).empty());
}

TEST_CASE("pictures of two types don't go together; transparency is counted") {
  ThreadPool pool(1);
  const std::string images = test::golden("images/");
  const std::string wide = test::golden("../fuzz/corpus/image/wide.png");
  CHECK(has(error_of(ErrorKind::file,
                     [&] {
                       open_pictures({images + "colour.png", wide}, {}, pool);
                     }),
            "u16"));
  CHECK(open_pictures({wide}, {}, pool)->type() == DType::u16);

  const test::TempFolder caches;
  const std::vector<std::string> some{images + "colour.png", images + "alpha.png",
                                      images + "alpha.bmp"};
  PictureOptions options;
  CHECK(open_pictures(some, options, pool)->dropped_alpha() == 2);
  options.cache_folder = caches.path();
  CHECK(open_pictures(some, options, pool)->dropped_alpha() == 2);
  CHECK(open_pictures(some, options, pool)->dropped_alpha() == 2);
}
