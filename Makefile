# make demo   installs what is missing, builds, renders the sample model's demo prompt into out/
# make install PREFIX=/usr/local   builds; the binary, its man pages and shell completions (DESTDIR= stages them)
# make test   installs what is missing, builds, runs all tests, says which were skipped
# make fuzz   reads a million damaged files of every kind (VDIT_FUZZ=n for another number)
.PHONY: demo test fuzz build install setup clean

VDIT := .build/release/vdit
PREFIX := /usr/local
BUILD_FLAGS := -c release --explicit-target-dependency-import-check error

setup:
	@scripts/setup

build: setup
	swift build $(BUILD_FLAGS) --product vdit

demo: build
	@mkdir -p out
	$(VDIT) render --model samples/wan-mini \
	    --prompt-embedding samples/prompts/01-red-ball-right.safetensors \
	    --lora samples/wan-mini/lora/4-step.safetensors --steps 4 --guidance-scale 1 \
	    --seed 42 --overwrite --contact-sheet out/demo.png -o out/demo.mp4
	@echo
	@echo "out/demo.mp4       the video: 4 calls of the transformer with the sample's adapter, 50 without it"
	@echo "out/demo.png       nine of its frames"
	@echo "out/demo.mp4.json  everything it was made with"
	@echo "Next: $(VDIT) --help, $(VDIT) doctor, or the same render with --sparse radial; README.md has more."

install: build
	@scripts/install $(VDIT) $(DESTDIR)$(PREFIX)

test: setup
	@scripts/test $(BUILD_FLAGS)

VDIT_FUZZ ?= 1000000

fuzz: setup
	VDIT_FUZZ=$(VDIT_FUZZ) swift test $(BUILD_FLAGS) --filter damagedFilesAreRefusedOrWork

clean:
	rm -rf .build out
