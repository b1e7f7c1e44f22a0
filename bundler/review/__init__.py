"""REVIEW.html: what a security officer reads before a bundle may cross.

- `page`: manifest, profile, lock and scan -> the page
- `visible`: text from files, made harmless for whoever reads it
- `review.html`, `review.css`: every word of it, and how it looks on screen and on A4
"""
