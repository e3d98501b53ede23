extern "C" int fulmar_absent() { return 1; }
