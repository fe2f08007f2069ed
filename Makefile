# make demo   installs what is missing, builds, renders the sample model's demo prompt into out/
# make install PREFIX=/usr/local   builds; the binary, its man pages and shell completions (DESTDIR= stages them)
# make deb    a Debian package in out/ that needs no Swift where it is installed
# make test   installs what is missing, builds, runs all tests, says which were skipped
# make fuzz   reads a million damaged files of every kind (VDIT_FUZZ=n for another number)
# make fuzz-guided   looks for such files by coverage, for a minute (VDIT_FUZZ_SECONDS=n for longer)
# make sanitize   runs the tests under the thread and the address sanitizer (VDIT_FILTER=PATTERN for some suites)
.PHONY: demo test fuzz fuzz-guided sanitize build install deb setup clean

VDIT := .build/release/vdit
PREFIX := /usr/local
BUILD_FLAGS := -c release --explicit-target-dependency-import-check error

setup:
	@scripts/setup

build: setup
	swift build $(BUILD_FLAGS) --product vdit
	@scripts/stamp $(VDIT)

DEMO := render --model samples/wan-mini --prompt-embedding samples/prompts/01-red-ball-right.safetensors \
    --seed 42 --overwrite
GUIDED := --steps 20 --guidance-scale 4

demo: build
	@mkdir -p out
	$(VDIT) $(DEMO) --lora samples/wan-mini/lora/4-step.safetensors --steps 4 --guidance-scale 1 \
	    --contact-sheet out/demo.png -o out/demo.mp4
	@echo
	@echo "out/demo.mp4              the video: 4 calls of the transformer with the sample's adapter"
	@echo "out/demo.png              nine of its frames"
	@echo "out/demo.mp4.json         everything it was made with"
	@echo "docs/demo-20-steps.png    the same frames of 20 guided steps without the adapter, 40 calls; here that takes"
	@$(VDIT) $(DEMO) $(GUIDED) -o out/demo-20-steps.mp4 --dry-run | sed -n 's/^time  */                          /p'
	@echo "Next: $(VDIT) --help, $(VDIT) doctor, or the same render with --sparse radial; README.md has more."

install: build
	@scripts/install $(VDIT) $(DESTDIR)$(PREFIX)

# Swift's libraries go into this binary, so it is built apart.
deb: setup
	swift build $(BUILD_FLAGS) --product vdit --static-swift-stdlib --scratch-path .build-deb
	@scripts/stamp .build-deb/release/vdit
	@scripts/deb .build-deb/release/vdit out

test: setup
	@scripts/test $(BUILD_FLAGS)

VDIT_FUZZ ?= 1000000

fuzz: setup
	VDIT_FUZZ=$(VDIT_FUZZ) swift test $(BUILD_FLAGS) --filter damagedFilesAreRefusedOrWork

VDIT_FUZZ_SECONDS ?= 60
# Without the last flag only C would be followed: in modules of many files `--sanitize fuzzer` leaves out Swift.
FUZZ_FLAGS := $(BUILD_FLAGS) --sanitize fuzzer --sanitize address --scratch-path .build-fuzz --product Fuzz \
    -Xswiftc -sanitize-coverage=edge,trace-cmp,inline-8bit-counters,pc-table

fuzz-guided: setup
	VDIT_FUZZER=1 swift build $(FUZZ_FLAGS)
	@mkdir -p .build-fuzz/corpus
	ASAN_OPTIONS=detect_leaks=0 .build-fuzz/release/Fuzz -max_total_time=$(VDIT_FUZZ_SECONDS) -max_len=131072 \
	    -artifact_prefix=.build-fuzz/ .build-fuzz/corpus Tests/Fuzz/corpus

sanitize: setup
	@scripts/sanitize thread $(BUILD_FLAGS)
	@scripts/sanitize address $(BUILD_FLAGS)

clean:
	rm -rf .build .build-deb .build-tsan .build-asan .build-fuzz out
