"""Hotel reviews: the domain that no teacher answers, for tests on unseen ground."""

from fsa_jax.lab.lexicon import Domain, Subject

HOTEL = Domain(
    name='hotel',
    when='last weekend, in august, on our honeymoon, for one night, on business, this summer',
    foreign='casino, ski lift, ballroom, limousine, sauna, golf course',
    subjects=(
        Subject(
            'ROOMS#COMFORT',
            names='Room Comfort',
            implied='room',
            weight=7,
            senses='felt, looked',
            terms='room, bed, rooms*, pillows*, suite, mattress, balcony, shower, bathroom, '
            'air conditioning~, sofa, windows*, blankets*',
            modifiers='double, corner, family',
            words={
                -2: 'unbearable, uninhabitable',
                -1: 'cramped, noisy, small, hard, cold, stuffy, dark, lumpy, drafty, hot',
                0: 'basic, plain',
                1: 'comfortable, spacious, quiet, cozy, warm, large, soft, bright, airy',
                2: 'luxurious, heavenly, palatial',
            },
            implicit={
                -2: """
                    we spent the night in the car
                    the ceiling came down on the <bed/sofa>
                    """,
                -1: """
                    i did not close an eye all night
                    my back hurts from the <bed/mattress/sofa>
                    we heard every word of the neighbors
                    you cannot open the <window/suitcase/door> without moving the bed
                    there was no [hot water/heating] in the <shower/bathroom>
                    """,
                0: """
                    the <room/suite> has [one/two] beds
                    the <room/bed> is on the [second/fifth] floor
                    """,
                1: """
                    i slept like a baby
                    we did not want to get out of <bed>
                    you could dance in the <bathroom/room>
                    """,
                2: """
                    i wanted to take the <bed/mattress> home
                    i could live in the <suite/room> forever
                    """,
            },
        ),
        Subject(
            'ROOMS#CLEANLINESS',
            names='Cleanliness',
            implied='cleanliness',
            weight=4,
            senses='looked, smelled',
            terms='towels*, sheets*, carpet, bathroom floor, linen~, bathtub, curtains*, toilet',
            words={
                -2: 'filthy, disgusting, revolting',
                -1: 'dirty, stained, dusty, moldy, smelly, sticky, stale',
                0: 'used, plain',
                1: 'clean, fresh, tidy, hygienic, neat',
                2: 'spotless, immaculate, pristine',
            },
            implicit={
                -2: """
                    there were [bugs/roaches] in the <bed/bathtub>
                    """,
                -1: """
                    i found [a hair/crumbs] on the <sheets/towels>
                    i kept my socks on
                    nobody had emptied the bin for [days/a week]
                    """,
                0: """
                    the <towels/sheets> are changed on [monday/request]
                    """,
                1: """
                    you could eat off the <floor/carpet>
                    the <towels/sheets> were changed every day
                    """,
                2: """
                    an operating room could learn from them
                    """,
            },
        ),
        Subject(
            'SERVICE#GENERAL',
            names='Service, Staff',
            implied='service',
            weight=6,
            terms='service~, staff~, receptionist, porter, front desk, concierge, manager, check in~, '
            'housekeeping~, night clerk',
            words={
                -2: 'hostile, insulting',
                -1: 'slow, rude, unfriendly, careless, clueless, unhelpful, grumpy',
                0: 'formal, neutral',
                1: 'friendly, helpful, polite, prompt, courteous, attentive, welcoming, professional',
                2: 'impeccable, exemplary',
            },
            implicit={
                -2: """
                    the <receptionist/manager/porter> [yelled/laughed] at us
                    they gave our room away while we were out
                    """,
                -1: """
                    we waited [an hour/ages] to check in
                    the <receptionist/clerk> never looked up
                    they lost our [booking/luggage]
                    nobody answered the phone at the <front desk/reception>
                    """,
                0: """
                    the <receptionist/clerk> gave us the key
                    """,
                1: """
                    the <porter/concierge> remembered our names
                    they let us in [two/three] hours early
                    the <concierge/manager> got us tickets for the show
                    """,
                2: """
                    they treated us like [family/royalty]
                    """,
            },
        ),
        Subject(
            'LOCATION#GENERAL',
            names='Location',
            implied='location',
            weight=4,
            terms='location, view, beach, neighborhood, parking~, surroundings*, street, harbor view',
            words={
                -2: 'scary, hideous',
                -1: 'remote, noisy, inconvenient, ugly, unsafe, crowded',
                0: 'suburban, urban',
                1: 'convenient, central, quiet, scenic, safe, peaceful, handy',
                2: 'breathtaking, spectacular',
            },
            implicit={
                -1: """
                    our window faced a [wall/highway]
                    it is an hour from anything
                    you need a cab for everything
                    """,
                0: """
                    it is next to the <station/bank/airport>
                    """,
                1: """
                    it is [two/five] minutes from the <beach/station>
                    we walked everywhere
                    i woke up to the sound of the sea
                    """,
                2: """
                    the whole <city/bay> lies at your feet
                    """,
            },
        ),
        Subject(
            'HOTEL#PRICES',
            names='Price, Value',
            implied='price',
            weight=3,
            terms='price, rate, prices*, minibar prices*, room rate, parking fee, deal',
            words={
                -2: 'outrageous, criminal',
                -1: 'expensive, high, overpriced, steep, excessive',
                0: 'moderate, usual',
                1: 'cheap, fair, reasonable, affordable, low',
                2: 'unbeatable, irresistible',
            },
            implicit={
                -2: """
                    it costs a month of rent
                    """,
                -1: """
                    they charge [ten/twenty] dollars for [water/a towel/the internet]
                    you pay for the name
                    """,
                0: """
                    we paid [ninety/eighty] dollars a night
                    """,
                1: """
                    we got two nights for the price of one
                    i still had money left for shopping
                    """,
                2: """
                    it is almost [free/a gift]
                    """,
            },
        ),
        Subject(
            'FACILITIES#GENERAL',
            names='Facilities',
            implied='facilities',
            weight=3,
            terms='pool, gym, spa, elevator, internet~, lobby, hot tub, playground, rooftop bar',
            words={
                -2: 'dangerous, unusable',
                -1: 'broken, dated, crowded, slow, tiny, shabby, limited',
                0: 'basic, usual',
                1: 'modern, clean, fast, stylish, big, relaxing',
                2: 'gorgeous, stunning',
            },
            implicit={
                -2: """
                    i got an infection from the <pool/hot tub>
                    """,
                -1: """
                    the <pool/gym/elevator> was closed [all week/again]
                    we carried our bags up [four/six] floors
                    """,
                0: """
                    the <pool/gym> opens at [six/nine]
                    """,
                1: """
                    our kids never left the <pool/playground>
                    i spent all day in the <spa/pool>
                    """,
            },
        ),
        Subject(
            'HOTEL#GENERAL',
            names='Hotel Overall',
            implied='hotel',
            weight=5,
            terms='hotel, place, stay, resort, experience, property, inn, vacation',
            words={
                -2: 'unforgivable, shameful',
                -1: 'overrated, forgettable, stressful, overhyped',
                0: 'unchanged, different',
                1: 'special, memorable, reliable, charming, worthwhile',
                2: 'unforgettable, magical, legendary',
            },
            implicit={
                -2: """
                    never again
                    we left after [one night/an hour]
                    """,
                -1: """
                    we will not be back
                    the <photos/pictures> online are of another hotel
                    save your money and go elsewhere
                    """,
                0: """
                    the <hotel/resort> has [forty/ninety] rooms
                    """,
                1: """
                    we will [be back/come again]
                    we stayed [two/three] nights longer than planned
                    """,
                2: """
                    if i could give ten stars i would
                    we cried when we had to leave
                    """,
            },
        ),
    ),
    facts="""
        we stayed there [last weekend/in august/for two nights]
        my [wife/boss/sister] booked it
        we arrived [at noon/late at night/on friday]
        there were [two/four] of us
        i was in town for [a conference/a wedding]
        we came by [train/car]
        it was our [first trip/anniversary]
        we left on [sunday/monday]
        """,
)
