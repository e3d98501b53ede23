#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/program.h"

using namespace fulmar::test;
using Json = nlohmann::json;

TEST_CASE("bench: prints each kernel's rates beside what the machine reaches") {
  const Ended table = fulmar_program({"bench", "--batch", "1", "--crop", "64", "--seconds", "0",
                                      "--filter", "^(conv2d|relu)/block 3", "--device", "cpu"});
  CHECK(table.code == 0);
  CHECK(table.out.find("% of ceiling") != std::string::npos);
  CHECK(table.out.find("\nconv2d/block 3 second ") != std::string::npos);
  CHECK(table.out.find("\nrelu/block 3 ") != std::string::npos);
  CHECK(table.out.find("depthwise") == std::string::npos);

  const Ended json =
      fulmar_program({"bench", "--batch", "1", "--crop", "64", "--seconds", "0", "--filter",
                      "^(conv2d|relu)/block 3", "--json", "--device", "cpu"});
  REQUIRE(json.code == 0);
  const Json result = Json::parse(json.out);
  CHECK(result.at("ceilings").at("copy_gbytes_per_second") > 0);
  CHECK(result.at("ceilings").at("gflops_per_second") > 0);
  CHECK(result.at("machine").contains("processor"));
  bool relu = false;
  for (const Json& kernel : result.at("kernels")) {
    const double rate = kernel.at("gbytes_per_second"), bytes = kernel.at("bytes");
    CHECK(rate == doctest::Approx(bytes / kernel.at("us").get<double>() * 1e-3));
    if (kernel.at("name") != "relu/block 3") {
      CHECK(kernel.at("share_of_ceiling") > 0);
      continue;
    }
    relu = true;
    CHECK(kernel.at("shapes") == "[1,8,8,32] -> [1,8,8,32]");
    CHECK(bytes == 2 * 8 * 8 * 32 * 4);
    CHECK_FALSE(kernel.contains("flops"));
  }
  CHECK(relu);
}

TEST_CASE("bench: a filter that is none, or finds nothing, is an error") {
  for (const std::string filter : {"(", "no such kernel"}) {
    const Ended ended = fulmar_program({"bench", "--crop", "64", "--filter", filter});
    CHECK(ended.code == 2);
    CHECK(ended.out.empty());
    CHECK(ended.err.find("'" + filter + "'") != std::string::npos);
  }
}

TEST_CASE("bench: --list names the kernels and runs none") {
  const Ended list = fulmar_program({"bench", "--list", "--filter", "^warp/"});
  CHECK(list.code == 0);
  CHECK(list.out.find("warp/u8, crop\n") != std::string::npos);
  CHECK(list.out.find("relu") == std::string::npos);
  const Ended json = fulmar_program({"bench", "--list", "--filter", "^warp/u8, crop$", "--json"});
  CHECK(json.code == 0);
  CHECK(Json::parse(json.out) == Json::array({"warp/u8, crop"}));
}
