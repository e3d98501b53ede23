namespace hwy::platform {

// Highway's library measures its timer while it is loaded, for 2 ms of each run of the program, for
// benchmarks that it has none of. What the program defines is called in place of that.
// NOLINTBEGIN(readability-identifier-naming): the name is Highway's
__attribute__((visibility("default"))) unsigned long TimerResolution();
unsigned long TimerResolution() { return 1; }
// NOLINTEND(readability-identifier-naming)

}  // namespace hwy::platform
