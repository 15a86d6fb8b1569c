"""Laptop reviews: subjects, wording, facts."""

from fsa_jax.lab.lexicon import Domain, Subject

LAPTOP = Domain(
    name='laptop',
    when='at work, after a week, for school, when travelling, so far, out of the box, every day',
    foreign='stylus, docking station, printer, sim card, game pad, carrying case, scanner, antenna',
    subjects=(
        Subject(
            'LAPTOP#OPERATION_PERFORMANCE',
            names='Performance, Speed',
            implied='performance',
            weight=7,
            senses='seemed, felt',
            terms='performance~, processor, speed~, graphics card, boot time, hard drive, memory~, fan, '
            'wifi~, startup~, wireless adapter, cooling~, games*, apps*, updates*, video editing~',
            modifiers='integrated, internal, new',
            words={
                -2: 'unusable, hopeless, defective',
                -1: 'slow, sluggish, laggy, unstable, unreliable, choppy, hot, noisy, buggy, jerky',
                0: 'middling, usual',
                1: 'fast, quick, smooth, snappy, responsive, stable, reliable, powerful, speedy, '
                'efficient, cool, silent',
                2: 'blazing, lightning fast, unstoppable',
            },
            implicit={
                -2: """
                    it died [after a week/on the second day/in my hands]
                    smoke came out of the <fan/charger/vent>
                    the <hard drive/memory> took all my [photos/files] to the grave
                    """,
                -1: """
                    it freezes [twice a day/every hour/when i open a browser]
                    i can make coffee while it [starts/boots/loads a page]
                    it takes [five/ten] minutes to open [a file/an email]
                    it drops the connection every [hour/few minutes]
                    you could fry an egg on the <fan/bottom/processor>
                    i reinstalled everything [twice/three times]
                    the <fan/hard drive> sounds like a [jet/vacuum cleaner]
                    """,
                0: """
                    it has [two/four] cores
                    the <hard drive/memory> holds [half/one] terabyte
                    i use it for [email/browsing/writing]
                    """,
                1: """
                    it boots in [ten/five] seconds
                    i run [twenty/thirty] tabs without a hiccup
                    it never [crashed/froze] on me
                    the <fan> cannot be heard
                    it handles [everything/all my games] i throw at it
                    pages open before i blink
                    """,
                2: """
                    it leaves my old desktop in the dust
                    it feels like [a rocket/magic]
                    """,
            },
        ),
        Subject(
            'DISPLAY#QUALITY',
            names='Display, Screen Quality',
            implied='screen',
            weight=5,
            senses='looked, appeared',
            terms='screen, display, resolution~, colors*, touchscreen, picture, viewing angles*, '
            'brightness~, panel, retina display, contrast~, webcam picture',
            modifiers='glossy, matte, wide',
            words={
                -2: 'unreadable, unwatchable',
                -1: 'dim, blurry, grainy, dull, dark, fuzzy, washed out, reflective, low, pale',
                0: 'regular, matte enough',
                1: 'bright, sharp, crisp, clear, vivid, high, detailed, rich, vibrant, accurate',
                2: 'gorgeous, stunning, breathtaking',
            },
            implicit={
                -2: """
                    the <screen/display> cracked when i opened the lid
                    the <screen/panel> went black for good
                    """,
                -1: """
                    there are [two/four] dead pixels in the <screen/display>
                    my eyes [hurt/burn] after an hour
                    i see only my own face in the <screen/display>
                    i cannot [read/see] anything [outside/in the sun]
                    the <screen/panel> flickers when i scroll
                    """,
                0: """
                    the <screen/display> is [thirteen/fifteen] inches
                    the <screen/panel> folds flat
                    """,
                1: """
                    i can [read/work] in full sunlight
                    movies look like in a theater
                    you can count the hairs on a cat in the <picture/display>
                    my photos never looked like that
                    """,
                2: """
                    i cannot stop staring at the <screen/display>
                    nobody at work wants their old <screen/monitor> now
                    """,
            },
        ),
        Subject(
            'BATTERY#OPERATION_PERFORMANCE',
            names='Battery, Battery Life',
            implied='battery',
            weight=4,
            terms='battery, battery life~, charger, charging time, power supply, power cord, '
            'charging cable, standby time~, battery pack',
            words={
                -2: 'dangerous, dead',
                -1: 'short, weak, faulty, loose, flimsy, bulky, limited',
                0: 'usual, mid range',
                1: 'long, durable, long lasting, dependable, strong, quick, consistent',
                2: 'endless, immortal, record breaking',
            },
            implicit={
                -2: """
                    the <charger/battery> [caught fire/melted]
                    the <battery> swelled up and burst
                    """,
                -1: """
                    it is empty [before lunch/after an hour]
                    i carry the <charger/power cord> everywhere
                    it only works plugged in
                    i must charge it [three/four] times a day
                    the <charger/plug> falls out when i move
                    """,
                0: """
                    the <charger> has a [long/short] cable
                    the <battery> sits under the keyboard
                    """,
                1: """
                    it lasts [a whole flight/two days/ten hours]
                    i leave the <charger/power cord> at home
                    i charge it [once/twice] a week
                    it is full again in [twenty/thirty] minutes
                    """,
                2: """
                    i forgot where my <charger> is
                    it outlived three [meetings/flights] and a weekend
                    """,
            },
        ),
        Subject(
            'KEYBOARD#USABILITY',
            names='Keyboard, Input',
            implied='keyboard',
            weight=4,
            senses='felt, seemed',
            terms='keyboard, keys*, touchpad, trackpad, mouse, space bar, mouse buttons*, layout, '
            'backlight, number pad, key travel~, cursor',
            words={
                -2: 'unbearable, worthless',
                -1: 'stiff, mushy, cramped, sticky, awkward, shallow, jumpy, clunky, loud',
                0: 'conventional, usual',
                1: 'comfortable, responsive, precise, quiet, soft, roomy, smooth, ergonomic',
                2: 'luxurious, addictive',
            },
            implicit={
                -2: """
                    the <keys/keyboard> fell off [in a week/one by one]
                    my hands went numb after a page
                    """,
                -1: """
                    i have to press [each key/the e] twice
                    my wrists [hurt/ache] after a page
                    the <cursor/mouse> jumps around while i type
                    i plugged in an external <keyboard/mouse>
                    my fingers keep hitting the wrong <keys/buttons>
                    """,
                0: """
                    the <keyboard> has [eighty/a hundred] keys
                    the <touchpad/trackpad> sits in the middle
                    """,
                1: """
                    i [type/write] for hours without pain
                    i type in the dark
                    i make fewer typos than ever
                    my old mouse stays in the drawer
                    """,
                2: """
                    i wrote a whole novel on the <keyboard> in a month
                    my fingers fly over the <keys/keyboard>
                    """,
            },
        ),
        Subject(
            'LAPTOP#PRICE',
            names='Price, Value',
            implied='price',
            weight=3,
            terms='price, cost, price tag, deal, sale price, shipping cost~, warranty price',
            words={
                -2: 'outrageous, criminal',
                -1: 'high, expensive, steep, excessive, overpriced, unreasonable',
                0: 'moderate, usual',
                1: 'low, cheap, fair, reasonable, affordable, competitive, attractive',
                2: 'unbeatable, irresistible',
            },
            implicit={
                -2: """
                    i could have bought a car
                    it costs more than my [rent/first car]
                    """,
                -1: """
                    you pay for the [logo/name]
                    i saw it for [half/much less] a week later
                    the same thing costs half elsewhere
                    every cable costs extra
                    """,
                0: """
                    i paid [five/nine] hundred dollars
                    i bought it [on sale/in two payments]
                    """,
                1: """
                    i saved [two/three] hundred dollars
                    you get twice the machine for the money
                    my [student/small] budget survived
                    """,
                2: """
                    i felt like a thief when i paid
                    i bought two because of the <price>
                    """,
            },
        ),
        Subject(
            'LAPTOP#DESIGN_FEATURES',
            names='Design, Build',
            implied='design',
            weight=4,
            senses='looked, felt',
            terms='design, case, weight, lid, hinge, size, build, ports*, finish, body, usb ports*, '
            'webcam, cover',
            modifiers='metal, plastic, slim',
            words={
                -2: 'hideous, laughable',
                -1: 'heavy, bulky, flimsy, cheap, fragile, ugly, plasticky, wobbly, clumsy',
                0: 'conventional, boxy',
                1: 'light, thin, sleek, sturdy, elegant, compact, slim, small, portable, durable',
                2: 'gorgeous, beautiful, futuristic',
            },
            implicit={
                -2: """
                    the <hinge/lid/case> snapped [on day one/within a week]
                    it fell apart in my bag
                    """,
                -1: """
                    my back hurts from carrying it
                    i need [a dongle/an adapter] for everything
                    every fingerprint shows on the <lid/cover>
                    the <hinge/lid> creaks when i open it
                    there are not enough <ports/usb ports> for my stuff
                    """,
                0: """
                    the <case/lid> is [gray/black/silver]
                    it has [two/three] <ports/usb ports>
                    """,
                1: """
                    i forget it is in my bag
                    it survived a fall down the stairs
                    people in the cafe ask me about it
                    i can open the <lid> with one finger
                    """,
                2: """
                    it belongs in a museum of modern art
                    heads turn when i open the <lid>
                    """,
            },
        ),
        Subject(
            'SUPPORT#QUALITY',
            names='Support, Customer Service',
            implied='support',
            weight=3,
            terms='support~, customer service~, tech support~, technician, seller, warranty, staff~, '
            'help desk, repair service, return policy',
            words={
                -2: 'hostile, insulting',
                -1: 'rude, slow, clueless, unhelpful, useless, careless, impatient, evasive',
                0: 'formal, neutral',
                1: 'helpful, friendly, polite, prompt, patient, knowledgeable, quick, competent',
                2: 'exemplary, impeccable',
            },
            implicit={
                -2: """
                    the <technician/seller> hung up on me
                    they told me to [buy a new one/go away]
                    """,
                -1: """
                    i was on hold for [an hour/ages/two hours]
                    nobody answered my [emails/calls]
                    i was sent from one <technician/agent> to the next
                    it came back from [repair/them] with the same fault
                    i am still waiting for my refund
                    """,
                0: """
                    i called the <help desk/seller> about the receipt
                    the <warranty> runs for [one year/two years]
                    """,
                1: """
                    they [fixed/replaced] it within [a day/two days]
                    the <technician/agent> stayed on the line until it worked
                    a new one arrived the next morning
                    they answered in [five/ten] minutes
                    """,
                2: """
                    the <technician/seller> drove to my house on a sunday
                    they sent me a better model for free
                    """,
            },
        ),
        Subject(
            'LAPTOP#GENERAL',
            names='Laptop Overall',
            implied='laptop',
            weight=5,
            terms='laptop, computer, machine, notebook, product, device, purchase, model',
            words={
                -2: 'unforgivable, worthless',
                -1: 'overrated, frustrating, overhyped, defective, obsolete',
                0: 'unchanged, entry level',
                1: 'dependable, useful, worthwhile, versatile, practical, fun',
                2: 'unbeatable, legendary, magical',
            },
            implicit={
                -2: """
                    i want to throw it [out of the window/against the wall]
                    it is the last thing i buy from them
                    a paperweight would be more useful
                    """,
                -1: """
                    i returned it [after a week/the next day/on monday]
                    i went back to my old <laptop/computer>
                    do not waste your [money/time]
                    i should have listened to the other reviews
                    """,
                0: """
                    it replaced my old <laptop/computer>
                    i bought it for my [son/daughter/mother]
                    """,
                1: """
                    i would buy it again
                    i ordered another for my [wife/mother/office]
                    i take it with me everywhere
                    my whole team wants one now
                    """,
                2: """
                    you will have to pry it from my cold hands
                    if i could give ten stars i would
                    best thing since sliced bread
                    """,
            },
        ),
    ),
    facts="""
        i bought it [last week/in may/two months ago/on monday]
        my [son/boss/sister/roommate] [has one too/told me about it]
        it arrived [on tuesday/yesterday/in a brown box]
        i have had it for [a week/three weeks/a year]
        i ordered it [online/from the store/on sunday]
        i needed something for [school/work/my trip]
        my old one was [six/seven] years old
        i set it up [in the evening/with my dad]
        i work [from home/in an office/at a bank]
        i am typing this [review/text] right now
        there was a [manual/sticker] in the box
        it was a gift from my [uncle/parents]
        """,
)
