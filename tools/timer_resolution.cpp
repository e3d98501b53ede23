namespace hwy::platform {

// Highway's library measures its timer while it is loaded, for 2 ms of each run of the program, for
// benchmarks that it has none of. What the program defines is called in place of that.
__attribute__((visibility("default"))) unsigned long TimerResolution();
unsigned long TimerResolution() { return 1; }

}  // namespace hwy::platform
