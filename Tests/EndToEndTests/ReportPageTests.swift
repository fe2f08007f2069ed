import Foundation
import TestSupport
import Testing
import VDiT

/// The report of a real comparison in a real browser, at the width of a desk and of a phone.
@Suite(
    .enabled(
        if: Browser.program != nil,
        "the report page is not looked at: no chromium (scripts/setup --test-tools installs it)"),
    .serialized)
struct ReportPageTests {
    /// Everything that can be told of the page, once it is there and its folded parts are open.
    private static let script = """
        (async () => {
          const all = (query, root = document) => [...root.querySelectorAll(query)];
          all("details").forEach(part => part.open = true);
          const box = element => element.getBoundingClientRect();
          const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
          const plots = all("svg[role=img]").map(svg => {
            const [scale, words] = [box(svg).width / svg.viewBox.baseVal.width, all("text", svg)];
            return {
              axes: all(".axis", svg).map(text => text.textContent), curves: all("polyline", svg).length,
              smallest: Math.min(...words.map(text => parseFloat(getComputedStyle(text).fontSize) * scale)),
              outside: words.filter(text => box(text).left < box(svg).left - 1 || box(text).right > box(svg).right + 1
                || box(text).top < box(svg).top - 1 || box(text).bottom > box(svg).bottom + 1).map(text => text.textContent),
              overlapping: all(".tick,.axis", svg).flatMap((a, i, those) =>
                those.slice(i + 1).filter(b => meet(box(a), box(b))).map(b => a.textContent + " / " + b.textContent)),
            };
          });
          const light = colour => {
            const [r, g, b] = colour.match(/[\\d.]+/g).map(value => value / 255)
              .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
          };
          const paper = light(getComputedStyle(document.body).backgroundColor);
          const contrast = all("p,td,th,dd,dt,h1,h2,h3,figcaption,summary,svg text").map(element => {
            const style = getComputedStyle(element), ink = light(element.closest("svg") ? style.fill : style.color);
            return Math.max(ink, paper) / Math.min(ink, paper);
          });
          const videos = await Promise.all(all("video").map(async video => {
            if (!video.canPlayType('video/mp4; codecs="avc1.64001f"')) return { codec: false };
            await video.play();
            const advanced = await new Promise(done => {
              video.addEventListener("timeupdate", () => video.currentTime > 0 && done(true));
              setTimeout(() => done(false), 30000);
            });
            video.pause();
            return { codec: true, advanced, seconds: video.duration, size: video.videoWidth + "x" + video.videoHeight,
              stated: video.getAttribute("width") + "x" + video.getAttribute("height") };
          }));
          return {
            window: innerWidth, page: document.documentElement.scrollWidth, plots, videos,
            wide: all("body *").filter(e => !e.closest(".scroll,svg") && box(e).right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80)),
            methods: all("tbody tr").map(row => row.cells[0].textContent), columns: all("thead th").length,
            cells: all("tbody td").map(cell => cell.textContent), images: all("img").length,
            broken: all("img").filter(image => !image.complete || !image.naturalWidth).map(image => image.alt),
            paper: paper > 0.5 ? "light" : "dark", contrast: Math.min(...contrast),
          };
        })()
        """

    @Test(arguments: [(1280, false), (390, false), (390, true)])
    func thePageIsReadableAndWholeAndAsksNobodyForAnything(_ width: Int, _ isDark: Bool) throws {
        let (folder, results) = try CompareMethodsTests.finished.get()
        let page = "file://" + folder.path("report/report.html")
        let visit = try Browser().visit(page, width: width, height: 900, isDark: isDark, script: Self.script)
        let found = visit.value

        #expect(visit.complaints == [])
        #expect(visit.requests.first == page)
        // Beside the page itself its own videos, and nothing from elsewhere.
        let folderAddress = "file://" + folder.path("report/")
        #expect(visit.requests.allSatisfy { $0.hasPrefix(folderAddress) && ($0 == page || $0.hasSuffix(".mp4")) }, "\(visit.requests)")

        #expect(found["window"] as? Int == width && (found["page"] as? Int ?? .max) <= width)
        #expect(found["wide"] as? [String] == [])
        let nearestFirst = results.variants.dropFirst().sorted { ($0.psnr ?? .infinity) > ($1.psnr ?? .infinity) }
        #expect(found["methods"] as? [String] == ["dense"] + nearestFirst.map(\.label))
        let cells = try #require(found["cells"] as? [String])
        #expect(cells.count == results.variants.count * (found["columns"] as? Int ?? 0) && cells.allSatisfy { !$0.isEmpty })
        // A strip of every render, and its difference where it is not dense.
        #expect(found["images"] as? Int == results.clips.count * (2 * results.variants.count - 1))
        #expect(found["broken"] as? [String] == [])
        #expect(found["paper"] as? String == (isDark ? "dark" : "light"))
        #expect(try #require(found["contrast"] as? Double) > 4.5)

        let plots = try #require(found["plots"] as? [[String: Any]])
        let axes = Set(plots.compactMap { $0["axes"] as? [String] })
        #expect(axes == [
            ["speed, denoising (times dense)", "PSNR (dB)"], ["self-attention computed (% of dense)", "PSNR (dB)"],
            ["denoising step", "relative error (log scale)"], ["frame", "PSNR (dB)"],
        ])
        #expect(plots.count == 4 + 2 * results.clips.count)
        for plot in plots {
            #expect(try #require(plot["smallest"] as? Double) >= 10, "\(plot)")
            #expect(plot["outside"] as? [String] == [] && plot["overlapping"] as? [String] == [], "\(plot)")
        }
        #expect(plots.contains { ($0["curves"] as? Int ?? 0) == results.variants.count - 1 })

        let videos = try #require(found["videos"] as? [[String: Any]])
        #expect(videos.count == results.clips.count)
        for video in videos where video["codec"] as? Bool == true {
            #expect(video["advanced"] as? Bool == true && video["size"] as? String == video["stated"] as? String, "\(video)")
            // Nine frames at sixteen a second.
            #expect(abs(try #require(video["seconds"] as? Double) - 9.0 / 16) < 0.1)
        }
    }
}
