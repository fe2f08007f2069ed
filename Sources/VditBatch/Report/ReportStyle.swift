/// The page's style sheet: one column on a phone, two on a desk, light or dark as the reader's system is.
enum ReportStyle {
    /// Colours of the methods' curves there are; further methods begin again.
    static let colours = 8

    private static let light = ["#0b66b0", "#c84a00", "#00795a", "#a8407f", "#5d4bb5", "#8a6500", "#b3261e", "#48616e"]
    private static let dark = ["#6cb8f6", "#ff9a57", "#3fcf9f", "#f08fc4", "#ab9bff", "#e2bd4a", "#ff7b72", "#a3bac7"]

    private static func variables(_ colours: [String]) -> String {
        colours.enumerated().map { "--c\($0):\($1);" }.joined()
    }

    static var css: String {
        let curves = (0..<colours).map {
            ".curve.c\($0),.spread.c\($0),.ring.c\($0){stroke:var(--c\($0))}.mark.c\($0){fill:var(--c\($0))}"
                + ".note.c\($0){fill:var(--c\($0))}.key.c\($0){background:var(--c\($0))}"
        }.joined()
        return """
            :root{color-scheme:light dark;--paper:#fff;--card:#f5f6f8;--ink:#1a1d21;--soft:#565d66;--line:#d8dce1;\
            \(variables(light))}
            @media (prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1d2125;--ink:#e8eaed;--soft:#a2aab3;\
            --line:#363c43;\(variables(dark))}}
            *{box-sizing:border-box}
            body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",\
            "DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
            main{max-width:1120px;margin:0 auto;padding:24px 16px 64px}
            h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
            h2{font-size:1.25rem;margin:40px 0 12px}
            h3{font-size:1rem;margin:24px 0 8px}
            p{margin:8px 0}
            a{color:var(--c0)}
            .soft,figcaption,.facts dt{color:var(--soft)}
            .facts{display:flex;flex-wrap:wrap;gap:8px 28px;margin:16px 0}
            .facts div{margin:0}
            .facts dt{font-size:.8rem}
            .facts dd{margin:0;font-variant-numeric:tabular-nums}
            .scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
            table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
            th,td{padding:7px 12px;text-align:right;white-space:nowrap}
            th{font-weight:600;color:var(--soft);font-size:.8rem;vertical-align:bottom;background:var(--card)}
            tbody tr{border-top:1px solid var(--line)}
            th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--paper)}
            th:first-child{background:var(--card)}
            td small{color:var(--soft)}
            .key{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px}
            .key.none{background:var(--soft)}
            .pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:16px}
            figure{margin:0;background:var(--card);border-radius:8px;padding:12px}
            figure h3{margin:0 0 4px}
            figcaption{font-size:.85rem;margin-top:6px}
            svg{display:block;width:100%;height:auto}
            .grid{stroke:var(--line);stroke-width:1}
            .guide{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
            .tick,.axis{fill:var(--soft);font-size:11px}
            .axis{font-size:11.5px}
            .note{font-size:11px;paint-order:stroke;stroke:var(--card);stroke-width:4px;stroke-linejoin:round}
            .mid{text-anchor:middle}.end{text-anchor:end}
            .curve{fill:none;stroke-width:2;stroke-linejoin:round}
            .d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:9 3 2 3}
            .mark{stroke:var(--card);stroke-width:1.5}
            .ring{fill:var(--card);stroke-width:2}
            .spread{stroke-width:1;opacity:.6}
            \(curves)
            .legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 12px;padding:0;list-style:none;font-size:.9rem}
            .legend svg{display:inline-block;width:28px;height:8px;margin-right:6px;vertical-align:middle}
            .clip{border-top:1px solid var(--line);padding-top:8px;margin-top:32px}
            video,.strip img{display:block;max-width:100%;height:auto;border-radius:4px}
            video{width:100%;background:#181818}
            .strip{margin:14px 0;padding:0;background:none}
            .strip figcaption{color:var(--ink);margin:0 0 4px;font-variant-numeric:tabular-nums}
            .strip img+img{margin-top:4px}
            .strips{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:0 24px}
            .strip img{width:100%}
            .scale{height:12px;max-width:400px;border-radius:3px;margin-top:4px}
            .ends{display:flex;justify-content:space-between;max-width:400px;font-size:.8rem;color:var(--soft)}
            details{margin:12px 0}
            summary{cursor:pointer;font-weight:600;padding:6px 0}
            code,pre{font:.85rem/1.45 ui-monospace,"DejaVu Sans Mono",monospace}
            pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);border-radius:8px;padding:12px}
            .notice{background:var(--card);border-left:3px solid var(--c1);padding:8px 12px;border-radius:0 8px 8px 0}
            .rules dt{font-weight:600;margin-top:8px}
            .rules dd{margin:0;color:var(--soft)}
            .empty{color:var(--soft)}
            @media (max-width:600px){th,td{padding:6px 8px}table{font-size:.85rem}figure{padding:8px}td small{display:block}\
            .tick{font-size:13.5px}.axis{font-size:14px}.note{font-size:12.5px}h1{font-size:1.45rem}h2{margin-top:32px}}
            @media print{.scroll{overflow:visible}details:not([open])>*{display:block}}

            """
    }
}
